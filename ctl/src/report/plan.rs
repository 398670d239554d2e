//! A plan as a person approves it: what happens where, how long it takes, when the server is down,
//! and from where on the way back is another.

use ferry_proto::v1::{Plan, PolicyRule, Severity, Step, action::Kind};

use super::{
    check,
    text::{Look, Tone, clean, columns, hang, moment, pad, push_line, wrap},
};
use crate::{
    recipes::{pmm_client_upgrade, pmm_move_appliance, policy},
    units::estimate,
};

/// The columns of number and place: `  1  container  `.
const START: usize = 16;
/// The column of the estimate.
const ESTIMATE: usize = 11;

/// What `ferryctl plan` prints. `file` is where the plan was written, for the closing words.
#[must_use]
pub fn plan(plan: &Plan, file: &str, look: Look) -> String {
    let mut out = String::new();
    hang(&mut out, "", 0, &heading(plan), look.width);
    for line in by_policy(plan) {
        hang(&mut out, "", 0, &line, look.width);
    }
    out.push('\n');
    let mut stage = "";
    for (index, step) in plan.steps.iter().enumerate() {
        let next = stage_of(&plan.steps, index);
        // The server goes on serving while a client is exchanged.
        if next != stage && plan.client.is_empty() {
            stage = next;
            stage_line(&mut out, plan, stage, look);
        }
        if step.point_of_no_return {
            point_of_no_return(&mut out, look);
        }
        step_lines(&mut out, index + 1, step, look);
    }
    let shown: Vec<_> = plan
        .findings
        .iter()
        .filter(|finding| finding.severity() > Severity::Note)
        .cloned()
        .collect();
    if !shown.is_empty() {
        out.push('\n');
        check::list(&mut out, &shown, look);
    }
    out.push('\n');
    let observed = plan
        .facts
        .as_ref()
        .and_then(|facts| facts.observed.as_ref());
    let closing = if plan.client.is_empty() {
        format!(
            "Rests on facts of {}. `ferryctl apply {}` refuses it when they no longer hold.",
            moment(observed),
            if file.is_empty() { "PLAN" } else { file }
        )
    } else {
        format!(
            "Rests on facts of {}. Nothing was changed.",
            moment(observed)
        )
    };
    hang(&mut out, "", 0, &closing, look.width);
    out
}

fn heading(plan: &Plan) -> String {
    if let Some(client) = pmm_client_upgrade::client_of(plan) {
        return format!(
            "Plan {} for the client on {}: PMM {} → {}, recipe {}, by {}",
            plan.id,
            clean(&client.host),
            plan.from_version,
            plan.to_version,
            plan.recipe,
            plan.client,
        );
    }
    if let Some(origin) = pmm_move_appliance::origin_of(plan) {
        return format!(
            "Plan {} for {}: PMM {} from {origin} to volume {}, recipe {}",
            plan.id,
            name(plan),
            plan.from_version,
            pmm_move_appliance::volume_of(plan),
            plan.recipe,
        );
    }
    let target = plan.facts.as_ref().and_then(|facts| facts.target.as_ref());
    let digest = target.map_or("", |target| match target.digest.as_str() {
        "" => &target.id,
        digest => digest,
    });
    // A digest may come with its repository; only its own first digits tell images apart.
    let bare = digest.rsplit('@').next().unwrap_or(digest);
    let bare = bare.strip_prefix("sha256:").unwrap_or(bare);
    let bare: String = bare.chars().take(4).collect();
    let owner = match &plan.owner {
        Some(owner) => format!("owner {}:{}", owner.uid, owner.gid),
        None => "owners as they are".to_owned(),
    };
    format!(
        "Plan {} for {}: PMM {} → {} (sha256:{bare}…), recipe {}, {owner}",
        plan.id,
        name(plan),
        plan.from_version,
        plan.to_version,
        plan.recipe,
    )
}

/// Which rule let the target through, and why; and whatever the operator has overruled.
fn by_policy(plan: &Plan) -> Vec<String> {
    let of_target = |rule: &&PolicyRule| rule.subject == format!("PMM {}", plan.to_version);
    let shown = plan
        .policy
        .iter()
        .filter(|rule| rule.overruled || of_target(rule));
    shown
        .map(|rule| {
            let mut text = format!(
                "Policy: {} {} (rule {}, {}, by {})",
                rule.subject, rule.reason, rule.rule, rule.verdict, rule.source
            );
            if rule.overruled {
                text.push_str("; it was allowed by name");
            }
            if rule.rule == policy::FLOATING.name {
                text.push_str(&format!(", and the run uses {} alone", short_id(plan)));
            }
            text
        })
        .collect()
}

/// The target's image by the digits that engines show of it.
fn short_id(plan: &Plan) -> String {
    let target = plan.facts.as_ref().and_then(|facts| facts.target.as_ref());
    let id = target.map_or("", |target| target.id.as_str());
    let bare = id.strip_prefix("sha256:").unwrap_or(id);
    format!("sha256:{}…", bare.chars().take(12).collect::<String>())
}

/// The server's own name, or its address when it is not known; of a client's plan its host's name.
pub(super) fn name(plan: &Plan) -> &str {
    if let Some(client) = pmm_client_upgrade::client_of(plan) {
        return &client.host;
    }
    let container = plan
        .facts
        .as_ref()
        .and_then(|facts| facts.container.as_ref());
    container.map_or(plan.server.as_str(), |container| container.name.as_str())
}

fn stage_of(steps: &[Step], index: usize) -> &'static str {
    if steps[index].downtime {
        "downtime starts"
    } else if steps[..index].iter().any(|step| step.downtime) {
        "downtime ends"
    } else {
        "before the stop"
    }
}

fn stage_line(out: &mut String, plan: &Plan, stage: &str, look: Look) {
    let beside = match stage {
        "before the stop" if !look.is_narrow() => "estimate".to_owned(),
        "downtime starts" => {
            let down = plan.steps.iter().filter(|step| step.downtime);
            let sum = down.fold(0_u64, |sum, step| sum.saturating_add(step.estimate_ms));
            format!("about {}", estimate(sum))
        }
        _ => String::new(),
    };
    let title = look.paint(Tone::Aside, stage);
    let gap = if look.is_narrow() {
        2
    } else {
        (START + title_width(look)).saturating_sub(5 + columns(stage))
    };
    push_line(out, &format!("     {title}{}{beside}", " ".repeat(gap)));
}

fn point_of_no_return(out: &mut String, look: Look) {
    let words = "── point of no return: from here undo restores the volume ──";
    for line in wrap(words, look.width.saturating_sub(2)) {
        push_line(out, &format!("  {}", look.paint(Tone::Careful, &line)));
    }
}

fn title_width(look: Look) -> usize {
    // What is left of the line, but no wider than a title reads well.
    look.width.saturating_sub(START + ESTIMATE).clamp(20, 48)
}

fn step_lines(out: &mut String, number: usize, step: &Step, look: Look) {
    let (time, remark) = time_and_remark(step);
    let place = step.place().word();
    if look.is_narrow() {
        hang(out, &format!("{number:>3}  "), 5, &step.title, look.width);
        let parts = [place, &time, &remark];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        hang(out, "       ", 7, &parts.join(" · "), look.width);
        diff_lines(out, "     ", step, look);
        return;
    }
    let width = title_width(look);
    let titles = wrap(&step.title, width - 2);
    let indent = " ".repeat(START);
    let beside = START + width + ESTIMATE;
    let fits = beside + columns(&remark) <= look.width;
    for (index, title) in titles.iter().enumerate() {
        let line = if index == 0 {
            let remark = if fits { remark.as_str() } else { "" };
            let place = pad(place, 11);
            format!(
                "{number:>3}  {place}{}{}{remark}",
                pad(title, width),
                pad(&time, ESTIMATE)
            )
        } else {
            format!("{indent}{title}")
        };
        push_line(out, &line);
    }
    if !fits {
        hang(out, &indent, START, &remark, look.width);
    }
    diff_lines(out, &indent, step, look);
}

/// The lines of the operator's files that a step changes. They have no value of a variable.
fn diff_lines(out: &mut String, indent: &str, step: &Step, look: Look) {
    let action = step.action.as_ref().and_then(|action| action.kind.as_ref());
    let lines = match action {
        Some(Kind::EditComposeFile(edit)) => edit.diff.clone(),
        Some(Kind::EditUnitFiles(edit)) => {
            let files = edit.unit.iter().flat_map(|it| &it.files);
            files
                .flat_map(|it| std::iter::once(it.path.clone()).chain(it.diff.clone()))
                .collect()
        }
        _ => return,
    };
    for line in &lines {
        hang(out, indent, indent.len(), &clean(line), look.width);
    }
}

/// What stands in the column of estimates, and what beside it.
fn time_and_remark(step: &Step) -> (String, String) {
    let remark = clean(&step.remark).into_owned();
    match (step.estimate_ms, remark.is_empty()) {
        (0, true) => ("not known".to_owned(), remark),
        (0, false) => (remark, String::new()),
        (millis, _) => (estimate(millis), remark),
    }
}
