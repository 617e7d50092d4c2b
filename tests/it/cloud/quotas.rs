//! Service Quotas.

use std::collections::BTreeMap;

use aws_sdk_servicequotas::Client;
use aws_sdk_servicequotas::operation::get_service_quota::{
    GetServiceQuotaInput, GetServiceQuotaOutput,
};
use aws_sdk_servicequotas::types::ServiceQuota;
use aws_smithy_mocks::mock;

use super::{Cloud, Refusal, State, client, refusal};

#[derive(Default)]
pub(crate) struct Quotas {
    /// The values of this account, by the codes of service and quota; of the rest it has none.
    pub(crate) applied: BTreeMap<(&'static str, &'static str), f64>,
}

pub(super) fn client(cloud: &Cloud) -> Client {
    client!(
        aws_sdk_servicequotas,
        [cloud.read(
            "servicequotas:GetServiceQuota",
            mock!(Client::get_service_quota),
            get_service_quota,
        )]
    )
}

fn get_service_quota(
    state: &mut State,
    input: &GetServiceQuotaInput,
) -> Result<GetServiceQuotaOutput, Refusal> {
    let asked = (input.service_code().unwrap(), input.quota_code().unwrap());
    let mut applied = state.quotas.applied.iter();
    let Some((_, value)) = applied.find(|(known, _)| **known == asked) else {
        let message = "The request failed because the specified quota does not exist.";
        return Err(refusal("NoSuchResourceException", message));
    };
    let quota = ServiceQuota::builder().value(*value).build();
    Ok(GetServiceQuotaOutput::builder().quota(quota).build())
}
