//! Which service of AWS carries a schedule.

/// What starts a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A rule of Amazon EventBridge: UTC, at once.
    Rule,
    /// A schedule of Amazon EventBridge Scheduler.
    Scheduler,
}

impl Engine {
    pub fn as_str(self) -> &'static str {
        match self {
            Engine::Rule => "rule",
            Engine::Scheduler => "scheduler",
        }
    }
}

/// Which of them a deployment uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// Rules only: what they can't do is refused, of a job that is made or changed.
    Rules,
    /// A rule, unless the job asks for what only Scheduler can do.
    #[default]
    ByNeed,
    /// Scheduler for every job.
    Scheduler,
}

impl EngineChoice {
    pub const ALL: [EngineChoice; 3] =
        [EngineChoice::Rules, EngineChoice::ByNeed, EngineChoice::Scheduler];

    pub fn as_str(self) -> &'static str {
        match self {
            EngineChoice::Rules => "rules",
            EngineChoice::ByNeed => "by_need",
            EngineChoice::Scheduler => "scheduler",
        }
    }

    /// The choice of this name.
    pub fn parse(text: &str) -> Option<EngineChoice> {
        EngineChoice::ALL.into_iter().find(|choice| choice.as_str() == text)
    }

    /// The engine of a job that `needs_scheduler` or not. Where there are rules only, one that needs it was made
    /// before that was so: a rule would start it at other times.
    pub fn engine(self, needs_scheduler: bool) -> Engine {
        match self {
            EngineChoice::Scheduler => Engine::Scheduler,
            EngineChoice::Rules | EngineChoice::ByNeed if needs_scheduler => Engine::Scheduler,
            EngineChoice::Rules | EngineChoice::ByNeed => Engine::Rule,
        }
    }
}
