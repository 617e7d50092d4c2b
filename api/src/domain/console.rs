//! Links into the AWS console.

use super::deployment::Deployment;

/// The page of a log group.
pub fn log_group_url(deployment: &Deployment, group: &str) -> String {
    let (console, region) = (deployment.console_url(), &deployment.region);
    format!(
        "{console}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{}",
        fragment(group)
    )
}

/// The page of one log stream.
pub fn log_stream_url(deployment: &Deployment, group: &str, stream: &str) -> String {
    format!("{}/log-events/{}", log_group_url(deployment, group), fragment(stream))
}

/// The console reads its fragment percent-decoded twice, with `$` for the outer `%`. Of what our
/// names hold, only the slash needs it.
fn fragment(text: &str) -> String {
    text.replace('/', "$252F")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::deployment::for_tests as deployment;

    #[test]
    fn slashes_are_encoded_twice() {
        assert_eq!(
            log_stream_url(&deployment(), "/cronplane/cp/a/b", "run/main/0f"),
            "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1\
             #logsV2:log-groups/log-group/$252Fcronplane$252Fcp$252Fa$252Fb\
             /log-events/run$252Fmain$252F0f"
        );
    }
}
