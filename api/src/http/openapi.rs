//! Routes and the OpenAPI document, from one description.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Api, audit, jobs, quotas, runs, schedules, teams, tokens};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Cronplane",
        description = "Scheduled containers on AWS Fargate: post a job, and Cronplane provisions \
                       the Fargate plumbing, starts it on its schedule, tells you when it fails \
                       and keeps the history of its runs.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/v1", description = "This deployment")),
    security(("token" = [])),
    tags(
        (name = "jobs", description = "What runs, where and when"),
        (name = "runs", description = "The history: what ran, how it ended, what it wrote"),
        (name = "schedules", description = "What a schedule means"),
        (name = "teams", description = "Who owns jobs, and what those may not go beyond"),
        (name = "tokens", description = "With what a team's people and programs ask"),
        (name = "audit", description = "Who changed what, and who tried to"),
        (name = "deployment", description = "The whole deployment, and the account that it is in"),
    ),
    modifiers(&Token),
)]
struct Document;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The administrator's token, one of a team, or one of the deployment's OIDC provider"))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// Everything below `/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(jobs::create, jobs::list))
        .routes(routes!(jobs::get, jobs::replace, jobs::update, jobs::delete))
        .routes(routes!(jobs::pause))
        .routes(routes!(jobs::resume))
        .routes(routes!(jobs::notification_test))
        .routes(routes!(runs::list, runs::requests::start))
        .routes(routes!(runs::get))
        .routes(routes!(runs::requests::stop))
        .routes(routes!(runs::logs))
        .routes(routes!(schedules::preview))
        .routes(routes!(schedules::preview_of_job))
        .routes(routes!(teams::create, teams::list))
        .routes(routes!(teams::get, teams::replace, teams::update, teams::delete))
        .routes(routes!(teams::who_am_i))
        .routes(routes!(tokens::create, tokens::list))
        .routes(routes!(tokens::get, tokens::revoke))
        .routes(routes!(audit::list))
        .routes(routes!(audit::list_of_job))
        .routes(routes!(quotas::get))
}

/// The OpenAPI document, as JSON with two spaces and a line feed at its end.
///
/// Errors: only if the document can't be written as JSON.
pub fn document() -> Result<String, serde_json::Error> {
    let document = routes().into_openapi();
    Ok(document.to_pretty_json()? + "\n")
}
