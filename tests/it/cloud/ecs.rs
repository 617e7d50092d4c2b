//! Amazon ECS.

use std::collections::{BTreeMap, VecDeque};

use aws_sdk_ecs::Client;
use aws_sdk_ecs::operation::create_cluster::{CreateClusterInput, CreateClusterOutput};
use aws_sdk_ecs::operation::delete_cluster::{DeleteClusterInput, DeleteClusterOutput};
use aws_sdk_ecs::operation::deregister_task_definition::{
    DeregisterTaskDefinitionInput, DeregisterTaskDefinitionOutput,
};
use aws_sdk_ecs::operation::describe_clusters::{DescribeClustersInput, DescribeClustersOutput};
use aws_sdk_ecs::operation::describe_task_definition::{
    DescribeTaskDefinitionInput, DescribeTaskDefinitionOutput,
};
use aws_sdk_ecs::operation::describe_tasks::{DescribeTasksInput, DescribeTasksOutput};
use aws_sdk_ecs::operation::list_clusters::{ListClustersInput, ListClustersOutput};
use aws_sdk_ecs::operation::list_task_definitions::{
    ListTaskDefinitionsInput, ListTaskDefinitionsOutput,
};
use aws_sdk_ecs::operation::list_tasks::{ListTasksInput, ListTasksOutput};
use aws_sdk_ecs::operation::put_cluster_capacity_providers::{
    PutClusterCapacityProvidersInput, PutClusterCapacityProvidersOutput,
};
use aws_sdk_ecs::operation::register_task_definition::{
    RegisterTaskDefinitionInput, RegisterTaskDefinitionOutput,
};
use aws_sdk_ecs::operation::run_task::{RunTaskInput, RunTaskOutput};
use aws_sdk_ecs::operation::stop_task::{StopTaskInput, StopTaskOutput};
use aws_sdk_ecs::operation::tag_resource::{TagResourceInput, TagResourceOutput};
use aws_sdk_ecs::operation::untag_resource::{UntagResourceInput, UntagResourceOutput};
use aws_sdk_ecs::primitives::DateTime;
use aws_sdk_ecs::types::{
    ClusterField, Container, Failure, LaunchType, Tag, Task, TaskDefinitionField,
    TaskDefinitionStatus, TaskStopCode,
};
use aws_smithy_mocks::mock;

use super::{Cloud, Refusal, Standing, State, Tags, arn, client, content_of, page, refusal};

/// ListTasks and ListTaskDefinitions answer so many at most.
const PAGE: usize = 100;

/// AWS re:Post, "Capacity is unavailable".
const NO_CAPACITY: &str = "Capacity is unavailable at this time. Please try again later or in a \
                           different availability zone";

#[derive(Default)]
pub(crate) struct Ecs {
    pub(crate) clusters: BTreeMap<String, Cluster>,
    /// Every revision there ever was; a number is given once.
    pub(crate) task_definitions: Vec<TaskDefinition>,
    pub(crate) tasks: Vec<Task>,
    /// What was asked for with each client token of a cluster, and the task that came of it.
    client_tokens: BTreeMap<(String, String), (String, String)>,
    /// Reason and detail with which the next calls of RunTask start nothing.
    pub(crate) run_failures: VecDeque<(&'static str, &'static str)>,
    /// Whether Fargate has no spare capacity.
    pub(crate) no_spot: bool,
    /// Every call of RunTask that started something.
    pub(crate) runs: Vec<RunTaskInput>,
    /// What happens while the next call of RunTask with a client token is on its way.
    pub(crate) meanwhile: Option<fn(&mut State, &str)>,
    /// ListTasks does not know yet what was started a moment ago.
    pub(crate) lists_late: bool,
    /// Nor do DescribeTasks and StopTask.
    pub(crate) finds_late: bool,
    /// When tasks are created: so many seconds after the beginning of these tests' time.
    pub(crate) now: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// A cluster that was deleted can be described for a while.
    pub(crate) deleted: bool,
    /// Of one that is not deleted; none is ACTIVE.
    pub(crate) status: Option<&'static str>,
    pub(crate) capacity_providers: Vec<String>,
    pub(crate) tags: Tags,
}

#[derive(Clone, Debug)]
pub(crate) struct TaskDefinition {
    pub(crate) family: String,
    pub(crate) revision: usize,
    pub(crate) active: bool,
    pub(crate) input: RegisterTaskDefinitionInput,
}

impl TaskDefinition {
    pub(crate) fn arn(&self) -> String {
        let (family, revision) = (&self.family, self.revision);
        arn("ecs", &format!("task-definition/{family}:{revision}"))
    }

    fn described(&self) -> aws_sdk_ecs::types::TaskDefinition {
        aws_sdk_ecs::types::TaskDefinition::builder()
            .task_definition_arn(self.arn())
            .family(&self.family)
            .status(if self.active {
                TaskDefinitionStatus::Active
            } else {
                TaskDefinitionStatus::Inactive
            })
            .build()
    }
}

impl Ecs {
    /// Registers a revision of the family of `input`.
    pub(crate) fn register(&mut self, input: &RegisterTaskDefinitionInput) -> &TaskDefinition {
        let family = input.family().unwrap().to_owned();
        let earlier = self.task_definitions.iter();
        let revision = 1 + earlier.filter(|one| one.family == family).count();
        self.task_definitions.push(TaskDefinition {
            family,
            revision,
            active: true,
            input: input.clone(),
        });
        self.task_definitions.last().unwrap()
    }

    pub(crate) fn standing(&self) -> impl Iterator<Item = (String, Standing)> {
        let clusters = self.clusters.iter().filter(|(_, one)| !one.deleted);
        let clusters = clusters.map(|(name, cluster)| {
            let tags = cluster.tags.clone();
            let content = content_of(cluster);
            (format!("cluster {name}"), Standing { tags, content })
        });
        let revisions = self.task_definitions.iter().filter(|one| one.active);
        let revisions = revisions.map(|one| {
            let tags = tags_of(one.input.tags());
            let content = content_of(&one.input);
            let name = format!("task definition {}:{}", one.family, one.revision);
            (name, Standing { tags, content })
        });
        clusters.chain(revisions)
    }

    fn active_cluster(&self, name: Option<&str>) -> Result<String, Refusal> {
        let name = name.unwrap().rsplit('/').next().unwrap();
        match self.clusters.get(name) {
            Some(cluster) if !cluster.deleted => Ok(arn("ecs", &format!("cluster/{name}"))),
            _ => Err(refusal("ClusterNotFoundException", "Cluster not found.")),
        }
    }

    /// The tags of what has the ARN: only clusters are tagged after they were made.
    fn tags(&mut self, resource_arn: Option<&str>) -> Result<&mut Tags, Refusal> {
        self.active_cluster(resource_arn)?;
        let name = resource_arn.unwrap().strip_prefix(&arn("ecs", "cluster/")).unwrap();
        Ok(&mut self.clusters.get_mut(name).unwrap().tags)
    }
}

pub(super) fn client(cloud: &Cloud) -> Client {
    client!(
        aws_sdk_ecs,
        [
            cloud
                .read("ecs:DescribeClusters", mock!(Client::describe_clusters), describe_clusters,),
            cloud.read("ecs:ListClusters", mock!(Client::list_clusters), list_clusters),
            cloud.write("ecs:CreateCluster", mock!(Client::create_cluster), create_cluster,),
            cloud.write(
                "ecs:PutClusterCapacityProviders",
                mock!(Client::put_cluster_capacity_providers),
                put_cluster_capacity_providers,
            ),
            cloud.write("ecs:DeleteCluster", mock!(Client::delete_cluster), delete_cluster,),
            cloud.write(
                "ecs:RegisterTaskDefinition",
                mock!(Client::register_task_definition),
                register_task_definition,
            ),
            cloud.read(
                "ecs:DescribeTaskDefinition",
                mock!(Client::describe_task_definition),
                describe_task_definition,
            ),
            cloud.read(
                "ecs:ListTaskDefinitions",
                mock!(Client::list_task_definitions),
                list_task_definitions,
            ),
            cloud.write(
                "ecs:DeregisterTaskDefinition",
                mock!(Client::deregister_task_definition),
                deregister_task_definition,
            ),
            cloud.read("ecs:ListTasks", mock!(Client::list_tasks), list_tasks),
            cloud.read("ecs:DescribeTasks", mock!(Client::describe_tasks), describe_tasks,),
            cloud.write("ecs:RunTask", mock!(Client::run_task), run_task),
            cloud.write("ecs:StopTask", mock!(Client::stop_task), stop_task),
            cloud.write("ecs:TagResource", mock!(Client::tag_resource), tag_resource),
            cloud.write("ecs:UntagResource", mock!(Client::untag_resource), untag_resource),
        ]
    )
}

fn tags_of(tags: &[Tag]) -> Tags {
    tags.iter()
        .map(|tag| (tag.key().unwrap().to_owned(), tag.value().unwrap().to_owned()))
        .collect()
}

fn tag_list(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

fn described(
    name: &str,
    cluster: &Cluster,
    with_tags: bool,
) -> aws_sdk_ecs::types::builders::ClusterBuilder {
    aws_sdk_ecs::types::Cluster::builder()
        .cluster_name(name)
        .cluster_arn(arn("ecs", &format!("cluster/{name}")))
        .status(if cluster.deleted { "INACTIVE" } else { cluster.status.unwrap_or("ACTIVE") })
        .set_capacity_providers(Some(cluster.capacity_providers.clone()))
        .set_tags(with_tags.then(|| tag_list(&cluster.tags)))
}

fn list_clusters(
    state: &mut State,
    input: &ListClustersInput,
) -> Result<ListClustersOutput, Refusal> {
    let size = input.max_results().map_or(PAGE, |size| usize::try_from(size).unwrap());
    if !(1..=PAGE).contains(&size) {
        return Err(refusal("InvalidParameterException", "maxResults is out of bounds."));
    }
    let clusters = state.ecs.clusters.keys();
    let arns: Vec<String> = clusters.map(|name| arn("ecs", &format!("cluster/{name}"))).collect();
    let (arns, next) = page(&arns, input.next_token(), size);
    Ok(ListClustersOutput::builder().set_cluster_arns(Some(arns)).set_next_token(next).build())
}

fn describe_clusters(
    state: &mut State,
    input: &DescribeClustersInput,
) -> Result<DescribeClustersOutput, Refusal> {
    let with_tags = input.include().contains(&ClusterField::Tags);
    let mut answer = DescribeClustersOutput::builder();
    for name in input.clusters() {
        answer = match state.ecs.clusters.get(name) {
            Some(cluster) => answer.clusters(described(name, cluster, with_tags).build()),
            None => answer.failures(Failure::builder().arn(name).reason("MISSING").build()),
        };
    }
    Ok(answer.build())
}

/// Answers the cluster of that name if there is one, whoever made it.
fn create_cluster(
    state: &mut State,
    input: &CreateClusterInput,
) -> Result<CreateClusterOutput, Refusal> {
    let name = input.cluster_name().unwrap();
    let clusters = &mut state.ecs.clusters;
    if clusters.get(name).is_none_or(|cluster| cluster.deleted) {
        let cluster = Cluster {
            deleted: false,
            status: None,
            capacity_providers: input.capacity_providers().to_vec(),
            tags: tags_of(input.tags()),
        };
        clusters.insert(name.to_owned(), cluster);
    }
    let cluster = &clusters[name];
    Ok(CreateClusterOutput::builder().cluster(described(name, cluster, true).build()).build())
}

fn put_cluster_capacity_providers(
    state: &mut State,
    input: &PutClusterCapacityProvidersInput,
) -> Result<PutClusterCapacityProvidersOutput, Refusal> {
    state.ecs.active_cluster(input.cluster())?;
    let cluster = state.ecs.clusters.get_mut(input.cluster().unwrap()).unwrap();
    cluster.capacity_providers = input.capacity_providers().to_vec();
    Ok(PutClusterCapacityProvidersOutput::builder().build())
}

fn delete_cluster(
    state: &mut State,
    input: &DeleteClusterInput,
) -> Result<DeleteClusterOutput, Refusal> {
    let arn = state.ecs.active_cluster(input.cluster())?;
    let mut tasks = state.ecs.tasks.iter();
    if tasks.any(|task| task.cluster_arn() == Some(&arn) && task.last_status() != Some("STOPPED")) {
        return Err(refusal(
            "ClusterContainsTasksException",
            "The Cluster cannot be deleted while Tasks are active.",
        ));
    }
    let cluster = state.ecs.clusters.get_mut(input.cluster().unwrap());
    cluster.unwrap().deleted = true;
    Ok(DeleteClusterOutput::builder().build())
}

/// Every call makes a revision, also of the same content.
fn register_task_definition(
    state: &mut State,
    input: &RegisterTaskDefinitionInput,
) -> Result<RegisterTaskDefinitionOutput, Refusal> {
    let made = state.ecs.register(input).described();
    Ok(RegisterTaskDefinitionOutput::builder().task_definition(made).build())
}

/// A family is its newest active revision.
fn describe_task_definition(
    state: &mut State,
    input: &DescribeTaskDefinitionInput,
) -> Result<DescribeTaskDefinitionOutput, Refusal> {
    let wanted = input.task_definition().unwrap();
    let mut all = state.ecs.task_definitions.iter().rev();
    let found = all.find(|one| one.arn() == wanted || (one.active && one.family == wanted));
    let Some(found) = found else {
        return Err(refusal("ClientException", "Unable to describe task definition."));
    };
    let with_tags = input.include().contains(&TaskDefinitionField::Tags);
    Ok(DescribeTaskDefinitionOutput::builder()
        .task_definition(found.described())
        .set_tags(with_tags.then(|| found.input.tags().to_vec()))
        .build())
}

fn list_task_definitions(
    state: &mut State,
    input: &ListTaskDefinitionsInput,
) -> Result<ListTaskDefinitionsOutput, Refusal> {
    let active = input.status() == Some(&TaskDefinitionStatus::Active);
    let arns: Vec<String> = state
        .ecs
        .task_definitions
        .iter()
        .filter(|one| Some(one.family.as_str()) == input.family_prefix() && one.active == active)
        .map(TaskDefinition::arn)
        .collect();
    let (arns, next) = page(&arns, input.next_token(), PAGE);
    Ok(ListTaskDefinitionsOutput::builder()
        .set_task_definition_arns(Some(arns))
        .set_next_token(next)
        .build())
}

fn deregister_task_definition(
    state: &mut State,
    input: &DeregisterTaskDefinitionInput,
) -> Result<DeregisterTaskDefinitionOutput, Refusal> {
    let mut all = state.ecs.task_definitions.iter_mut();
    let wanted = input.task_definition().unwrap();
    match all.find(|one| one.active && one.arn() == wanted) {
        Some(found) => {
            found.active = false;
            Ok(DeregisterTaskDefinitionOutput::builder().build())
        }
        None => Err(refusal("ClientException", "The specified task definition does not exist.")),
    }
}

fn list_tasks(state: &mut State, input: &ListTasksInput) -> Result<ListTasksOutput, Refusal> {
    let cluster = state.ecs.active_cluster(input.cluster())?;
    let filtered = input.family().is_some() || input.desired_status().is_some();
    if input.started_by().is_some() && filtered {
        return Err(refusal(
            "InvalidParameterException",
            "cannot specify startedBy with other arguments",
        ));
    }
    let desired = input.desired_status().map_or("RUNNING", |status| status.as_str());
    let of_family = |task: &Task| {
        let family = input.family().map(|family| format!("task-definition/{family}:"));
        family.is_none_or(|family| task.task_definition_arn().unwrap().contains(&family))
    };
    let arns: Vec<String> = state
        .ecs
        .tasks
        .iter()
        .filter(|task| {
            !state.ecs.lists_late
                && task.cluster_arn() == Some(&cluster)
                && of_family(task)
                && (input.started_by().is_none() || task.started_by() == input.started_by())
                && task.desired_status() == Some(desired)
        })
        .map(|task| task.task_arn().unwrap().to_owned())
        .collect();
    let (arns, next) = page(&arns, input.next_token(), PAGE);
    Ok(ListTasksOutput::builder().set_task_arns(Some(arns)).set_next_token(next).build())
}

fn describe_tasks(
    state: &mut State,
    input: &DescribeTasksInput,
) -> Result<DescribeTasksOutput, Refusal> {
    let cluster = state.ecs.active_cluster(input.cluster())?;
    if input.tasks().is_empty() || input.tasks().len() > 100 {
        return Err(refusal("InvalidParameterException", "Tasks must have 1 to 100 elements."));
    }
    let mut answer = DescribeTasksOutput::builder();
    for wanted in input.tasks() {
        let mut all = state.ecs.tasks.iter();
        let found = all.find(|task| {
            !state.ecs.finds_late
                && task.cluster_arn() == Some(&cluster)
                && task.task_arn() == Some(wanted.as_str())
        });
        answer = match found {
            Some(task) => answer.tasks(task.clone()),
            None => answer.failures(Failure::builder().arn(wanted).reason("MISSING").build()),
        };
    }
    Ok(answer.build())
}

/// The same client token in the same cluster answers the task that it started, if all else is the same
/// too.
fn run_task(state: &mut State, input: &RunTaskInput) -> Result<RunTaskOutput, Refusal> {
    let invalid = |message: &str| Err(refusal("InvalidParameterException", message));
    let token = input.client_token().unwrap();
    if token.len() > 64 || !token.bytes().all(|one| (33..=126).contains(&one)) {
        return invalid("clientToken must have 1 to 64 characters");
    }
    if let Some(meanwhile) = state.ecs.meanwhile.take() {
        meanwhile(state, token);
    }
    let cluster = state.ecs.active_cluster(input.cluster())?;
    if state.ecs.clusters[cluster.rsplit('/').next().unwrap()].status.is_some() {
        return Err(refusal("ClientException", "Cluster was not ACTIVE."));
    }
    let started_by = input.started_by().unwrap();
    let is_kind = |one: u8| one.is_ascii_alphanumeric() || b"-/_".contains(&one);
    if started_by.len() > 128 || !started_by.bytes().all(is_kind) {
        return invalid("startedBy contains invalid characters.");
    }
    let asked = content_of(input);
    let known = (cluster.clone(), token.to_owned());
    if let Some((earlier, arn)) = state.ecs.client_tokens.get(&known) {
        if *earlier != asked {
            let mut refused = refusal("ConflictException", "The clientToken is in use.");
            refused.more = serde_json::json!({"resourceIds": [arn]});
            return Err(refused);
        }
        let task = state.ecs.tasks.iter().find(|task| task.task_arn() == Some(arn.as_str()));
        return Ok(RunTaskOutput::builder()
            .set_tasks(task.cloned().map(|task| vec![task]))
            .build());
    }
    let wanted = input.task_definition().unwrap();
    let definition = state.ecs.task_definitions.iter().find(|one| one.arn() == wanted);
    let Some(definition) = definition.filter(|one| one.active) else {
        return Err(refusal("ClientException", "TaskDefinition is inactive"));
    };
    let network = input.network_configuration().and_then(|network| network.awsvpc_configuration());
    if network.is_none_or(|network| network.subnets().is_empty()) {
        return invalid(
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        );
    }
    let strategy = input.capacity_provider_strategy();
    if input.launch_type().is_some() && !strategy.is_empty() {
        return invalid(
            "Specifying both a launch type and capacity provider strategy is not supported.",
        );
    }
    let provider = strategy.first().map(|item| item.capacity_provider().to_owned());
    if state.ecs.no_spot && provider.as_deref() == Some("FARGATE_SPOT") {
        let failure = Failure::builder().reason(NO_CAPACITY).build();
        return Ok(RunTaskOutput::builder().failures(failure).build());
    }
    if let Some((reason, detail)) = state.ecs.run_failures.pop_front() {
        let failure = Failure::builder().reason(reason).detail(detail).build();
        return Ok(RunTaskOutput::builder().failures(failure).build());
    }
    let name = cluster.rsplit('/').next().unwrap();
    let id = format!("{:032x}", 0x7a5c_0000 + state.ecs.runs.len());
    let overrides = input.overrides();
    let size = |given: Option<&str>, own: Option<&str>| given.or(own).map(str::to_owned);
    let task = Task::builder()
        .task_arn(arn("ecs", &format!("task/{name}/{id}")))
        .cluster_arn(&cluster)
        .task_definition_arn(wanted)
        .set_group(input.group().map(str::to_owned))
        .started_by(started_by)
        .version(1)
        .last_status("PROVISIONING")
        .desired_status("RUNNING")
        .containers(Container::builder().name("main").build())
        .created_at(DateTime::from_secs(crate::job::at(state.ecs.now).as_second()))
        .launch_type(LaunchType::Fargate)
        .set_capacity_provider_name(provider)
        .set_cpu(size(overrides.and_then(|one| one.cpu()), definition.input.cpu()))
        .set_memory(size(overrides.and_then(|one| one.memory()), definition.input.memory()))
        .set_overrides(overrides.cloned())
        .build();
    state.ecs.client_tokens.insert(known, (asked, task.task_arn().unwrap().to_owned()));
    state.ecs.runs.push(input.clone());
    state.ecs.tasks.push(task.clone());
    Ok(RunTaskOutput::builder().tasks(task).build())
}

/// The task is asked to end; it ends later.
fn stop_task(state: &mut State, input: &StopTaskInput) -> Result<StopTaskOutput, Refusal> {
    state.ecs.active_cluster(input.cluster())?;
    let late = state.ecs.finds_late;
    let mut all = state.ecs.tasks.iter_mut();
    let Some(task) = all.find(|task| !late && task.task_arn() == input.task()) else {
        return Err(refusal("InvalidParameterException", "The referenced task was not found."));
    };
    if task.last_status() != Some("STOPPED") {
        task.desired_status = Some("STOPPED".to_owned());
        task.stop_code = Some(TaskStopCode::UserInitiated);
        task.stopped_reason = input.reason().map(str::to_owned);
    }
    Ok(StopTaskOutput::builder().task(task.clone()).build())
}

/// Adds tags to those that are there.
fn tag_resource(state: &mut State, input: &TagResourceInput) -> Result<TagResourceOutput, Refusal> {
    state.ecs.tags(input.resource_arn())?.extend(tags_of(input.tags()));
    Ok(TagResourceOutput::builder().build())
}

/// A key that is not there is no error.
fn untag_resource(
    state: &mut State,
    input: &UntagResourceInput,
) -> Result<UntagResourceOutput, Refusal> {
    let tags = state.ecs.tags(input.resource_arn())?;
    tags.retain(|key, _| !input.tag_keys().contains(key));
    Ok(UntagResourceOutput::builder().build())
}
