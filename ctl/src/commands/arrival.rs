//! What comes before a crossing where the PMM 2 runs on another machine without a container: the run that moves it to this one, with
//! `--onto`. Nobody's server is moved for a crossing that cannot follow, so that is looked at before.

use ferry_proto::v1::{Facts, Finding, GetFactsRequest, ImageFacts, NewServer, Plan};

use super::{End, Failed, Session, apply, check, migrate, plan as planning};
use crate::{
    cli::{Apply, Check, Layer, MakePlan, Migrate, Onto, Subject},
    connect::{
        ConnectedHost,
        address::{Address, AgentAddress},
    },
    exit::Exit,
    facts::FactsError,
    recipes::{
        self, Version, Wishes, arrival_findings, compare_facts, has_blocker,
        pmm_move_appliance::{self, MoveWishes},
        policy,
    },
    report::{self, Problem},
};

/// A move that was asked for.
pub(super) struct Move {
    origin: AgentAddress,
    /// The container that is made.
    pub(super) address: Address,
    wishes: MoveWishes,
    /// The versions that the policy puts before the wished one are left out.
    direct: bool,
    /// Those that come before it, once it was looked ahead.
    hops: policy::Hops,
}

impl Move {
    /// `None` where the server stays on its machine.
    pub(super) fn of(
        subject: &Subject,
        onto: &Onto,
        layer: &Layer,
        direct: bool,
    ) -> Result<Option<Self>, Failed> {
        let Some(to) = onto.onto.as_deref() else {
            return Ok(None);
        };
        let address: Address = to.parse()?;
        if address.engine().is_cluster() {
            return Err(Failed::plain(
                "address-unsupported",
                format!("`{address}` is in a cluster: a server that comes from another machine becomes a container"),
            )
            .hint("name a container by `--onto`, for example `docker:pmm-server`"));
        }
        let origin: AgentAddress = subject.server.parse()?;
        let container = address.container().to_owned();
        let volume = match layer.data_to_volume.as_deref() {
            None | Some("") => format!("{container}-data"),
            Some(name) => name.to_owned(),
        };
        let ports = match onto.publish.as_slice() {
            [] => vec![ferry_proto::v1::PublishedPort {
                host: 443,
                container: 443,
                ..Default::default()
            }],
            some => some.to_vec(),
        };
        let image = onto.from_image.clone().unwrap_or_default();
        let wishes = MoveWishes {
            new: NewServer {
                container,
                volume,
                ports,
                origin: format!("https://{origin}"),
            },
            users: onto.map_user.clone(),
            groups: onto.map_group.clone(),
            common: Wishes::new(image),
        };
        Ok(Some(Self {
            origin,
            address,
            wishes,
            direct,
            hops: policy::Hops::default(),
        }))
    }

    /// With what holds for the crossing as well.
    fn with(mut self, crossing: &Wishes) -> Self {
        self.wishes.common = Wishes {
            bytes_per_second: crossing.bytes_per_second,
            ready_seconds: crossing.ready_seconds,
            compare_seconds: crossing.compare_seconds,
            ..self.wishes.common
        };
        self
    }

    /// What both agents see. `to` is an image of the repository that the old version's is in too, where none was named.
    async fn look(
        &mut self,
        session: &Session,
        host: &ConnectedHost,
        to: &str,
        pull: bool,
    ) -> Result<Facts, Failed> {
        session.printer.detail("looking at the old machine");
        let request = GetFactsRequest {
            walk: true,
            api_key: session.api_key.clone(),
            ..GetFactsRequest::default()
        };
        let agent = session.origin(&self.origin).await?;
        let there = agent.client().get_facts(request).await;
        let there = there.map_err(FactsError::from)?.into_inner();
        if self.wishes.common.target_image.is_empty() {
            let server = there.server.as_ref();
            let version = server.and_then(|it| Version::parse(&it.version));
            if let Some(version) = version {
                self.wishes.common.target_image = policy::image_of(to, version);
            }
        }
        session.printer.detail("looking at the new one");
        let here = self
            .here(host, &self.wishes.common.target_image, pull)
            .await?;
        apply::refuse_locked(session, &here)?;
        Ok(pmm_move_appliance::merge(here, there))
    }

    /// The new machine, with this image.
    async fn here(&self, host: &ConnectedHost, image: &str, pull: bool) -> Result<Facts, Failed> {
        let request = GetFactsRequest {
            target_image: image.to_owned(),
            pull,
            new_server: Some(self.wishes.new.clone()),
            ..GetFactsRequest::default()
        };
        let answer = host.agent().client().get_facts(request).await;
        Ok(answer.map_err(FactsError::from)?.into_inner())
    }

    /// What would stand in the way of the first crossing behind the move.
    async fn ahead(
        &mut self,
        host: &ConnectedHost,
        facts: &Facts,
        crossing: &Wishes,
        pull: bool,
    ) -> Result<Vec<Finding>, Failed> {
        // What is refused by its name is not fetched to be refused.
        let pull = pull && !policy::refuses_name(crossing);
        let target = self.here(host, &crossing.target_image, pull).await?.target;
        let target = target.map(|target| ImageFacts {
            reference: crossing.target_image.clone(),
            ..target
        });
        // Where its backup goes is looked at when there is a container to ask beside.
        let crossing = Wishes {
            backup: recipes::Backup::NewVolume,
            data_volume: None,
            ..crossing.clone()
        };
        let there = pmm_move_appliance::ahead(facts, target);
        let mut hops = policy::Hops::default();
        if !self.direct {
            hops = recipes::hops(&there, &crossing);
        }
        for hop in hops.all_mut() {
            let image = self.here(host, &hop.image, pull).await?.target;
            hop.look(&image.unwrap_or_default());
        }
        self.hops = hops.clone();
        let found = recipes::findings(&there, &Wishes { hops, ..crossing });
        let known = arrival_findings(facts, &self.wishes);
        Ok(pmm_move_appliance::blockers_ahead(found, &known))
    }

    /// The plan, where nothing is in the way of the move or of what follows; otherwise that was shown.
    async fn plan(
        &mut self,
        session: &Session,
        host: &ConnectedHost,
        crossing: &Wishes,
    ) -> Result<Result<Plan, Exit>, Failed> {
        let facts = self
            .look(session, host, &crossing.target_image, true)
            .await?;
        let ahead = self.ahead(host, &facts, crossing, true).await?;
        if !ahead.is_empty() {
            return Ok(Err(check::show(session, &facts, &ahead, &[])));
        }
        let address = self.address.to_string();
        let made = pmm_move_appliance::plan(&address, facts.clone(), &self.wishes, planning::now());
        Ok(made.map_err(|refused| check::show(session, &facts, &refused.findings, &[])))
    }
}

/// `ferryctl check` with `--onto`: the move, and what would stand in the way of the crossing.
pub(super) async fn check(mut moving: Move, arguments: &Check, session: &Session) -> End {
    let host = session.host(moving.address.engine()).await?;
    let crossing = planning::wishes(&arguments.subject);
    let facts = moving
        .look(session, &host, &crossing.target_image, false)
        .await?;
    let mut found = moving.ahead(&host, &facts, &crossing, false).await?;
    found.extend(arrival_findings(&facts, &moving.wishes));
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
    Ok(check::show(session, &facts, &found, &arguments.show))
}

/// `ferryctl plan` with `--onto`.
pub(super) async fn plan(moving: Move, arguments: &MakePlan, session: &Session) -> End {
    let host = session.host(moving.address.engine()).await?;
    let crossing = Wishes {
        ready_seconds: arguments.patience.ready_timeout,
        compare_seconds: arguments.patience.compare_timeout,
        bytes_per_second: arguments.pace.io_limit,
        ..planning::wishes(&arguments.subject)
    };
    let made = moving
        .with(&crossing)
        .plan(session, &host, &crossing)
        .await?;
    let plan = match made {
        Ok(plan) => plan,
        Err(exit) => return Ok(exit),
    };
    session.printer.say(&format!(
        "The server is moved first: this is the plan for that alone. When it is carried out, plan again for {} with `{}`.",
        crossing.target_image, plan.server
    ));
    planning::write(&arguments.out, &plan)?;
    let file = arguments.out.display().to_string();
    session.printer.data(
        |look| report::plan(&plan, &file, look),
        || report::json::plan(&plan),
    );
    Ok(Exit::Done)
}

/// `ferryctl apply` of such a plan.
pub(super) async fn apply(plan: &Plan, arguments: &Apply, session: &Session) -> End {
    let address: Address = plan.server.parse()?;
    let mut moving = Move {
        origin: plan.origin.parse()?,
        wishes: pmm_move_appliance::wishes_of(plan),
        address,
        direct: false,
        hops: policy::Hops::default(),
    };
    let host = session.host(moving.address.engine()).await?;
    apply::refuse_locked(session, &plan.facts.clone().unwrap_or_default())?;
    let now = moving.look(session, &host, "", false).await?;
    let changes = compare_facts(&plan.facts.clone().unwrap_or_default(), &now);
    if !changes.is_empty() {
        let hint = format!(
            "look at what changed, then `ferryctl plan {} --onto {} --to IMAGE` again",
            plan.origin, plan.server
        );
        return Err(Failed {
            exit: Exit::Refused,
            problem: Box::new(Problem::stale_plan(
                moving.address.container(),
                &changes,
                hint,
            )),
        });
    }
    // What the plan does not rest on may stand in its way all the same.
    let findings = arrival_findings(&now, &moving.wishes);
    if has_blocker(&findings) {
        return Ok(check::show(session, &now, &findings, &[]));
    }
    if !arguments.yes {
        let file = arguments.plan.display().to_string();
        let look = session.printer.settings().stderr;
        session.printer.say(&report::plan(plan, &file, look));
    }
    session.confirm(arguments.yes, &question(plan, "")).await?;
    apply::begin(session, &host, plan, arguments.on_failure).await
}

/// The run that moves the server. What follows is asked for here too: it is planned when this is done, and begins at once.
pub(super) async fn migrate(moving: Move, arguments: &Migrate, session: &Session) -> End {
    let host = session.host(moving.address.engine()).await?;
    let to = &arguments.subject.to;
    let first = arguments.via.first().unwrap_or(to);
    let crossing = migrate::wishes(arguments, first, None);
    let mut moving = moving.with(&crossing);
    let made = moving.plan(session, &host, &crossing).await?;
    let hops = moving.hops.all().map(|hop| &hop.image);
    let way = arguments.via.iter().chain(hops).chain([to]);
    let way: Vec<&str> = way.map(String::as_str).collect();
    let plan = match made {
        Ok(plan) => plan,
        Err(exit) => return Ok(exit),
    };
    let look = session.printer.settings().stderr;
    session.printer.say(&report::plan(&plan, "", look));
    let then = format!(
        ", and then carry it from PMM {} to {}, each with a stop of the server",
        plan.from_version,
        way.join(", then ")
    );
    session
        .confirm(arguments.yes, &question(&plan, &then))
        .await?;
    apply::begin(session, &host, &plan, arguments.on_failure).await
}

fn question(plan: &Plan, then: &str) -> String {
    format!(
        "Move the server at {} to {}, with its data on the new volume {}{then}?",
        plan.origin,
        plan.server,
        pmm_move_appliance::volume_of(plan)
    )
}
