//! The cases of a plan of three steps.

use super::*;

const BACK: Kinds = Kinds {
    goes_back: true,
    fails: false,
};

fn seen(step: &str, leg: Leg, event: Event, agents: &[Victim], ms: u64) -> Moment {
    Moment {
        step: step.to_owned(),
        leg,
        event,
        agents: agents.to_vec(),
        appeared: Vec::new(),
        at: Duration::from_millis(ms),
        requests: 0,
    }
}

fn three_steps() -> (Vec<String>, Vec<Moment>) {
    let steps = ["look", "copy", "stop"].map(str::to_owned).to_vec();
    let mut moments = Vec::new();
    let mut at = 0;
    for leg in [Leg::There, Leg::Back] {
        for step in &steps {
            let agents: &[Victim] = match step.as_str() {
                "look" => &[],
                _ => &[Victim::VolumeAgent],
            };
            moments.push(seen(step, leg, Event::Intended, agents, at));
            at += if step == "copy" { 2000 } else { 10 };
            moments.push(seen(step, leg, Event::Finished, agents, at));
        }
    }
    (steps, moments)
}

#[test]
fn every_step_is_hit_at_every_moment_by_everybody_who_is_there() {
    let (steps, moments) = three_steps();
    let all = cases(&steps, &moments, BACK, &mut Random::seeded(1)).unwrap();
    // Controller and two engines always, an agent with two of three steps, one long step; two ways, there and back.
    // And where there is an agent, it is looked for by all others. A controller dies twice at each step.
    let (both_ways, moments_of_all) = (2 * 3 + 3 * 4 + 2 * 4 + 2 * 3 + 3, 2 + 3 + 2 + 2);
    // Of the whole machine there is one way, at each moment.
    assert_eq!(all.len(), both_ways * 2 * 2 + moments_of_all * 2);
    let is_seen = |case: &Case| case.step != "look" || case.victim != Victim::VolumeAgent;
    assert!(all.iter().all(is_seen));
    assert!(all.iter().all(|case| case.victim != Victim::Sidecar));
    let there = cases(
        &steps,
        &moments,
        Kinds {
            goes_back: false,
            ..BACK
        },
        &mut Random::seeded(1),
    )
    .unwrap();
    assert_eq!(
        (there.len(), there.iter().any(|it| it.leg.undoes())),
        (all.len() / 2, false)
    );
}

#[test]
fn every_step_fails_where_steps_can_be_made_to() {
    let (steps, moments) = three_steps();
    let without = cases(&steps, &moments, BACK, &mut Random::seeded(1)).unwrap();
    let fails = Kinds {
        fails: true,
        ..BACK
    };
    let with = cases(&steps, &moments, fails, &mut Random::seeded(1)).unwrap();
    // Controller and two engines, and an agent with two of three steps; two ways, there and back. The machine has one way. The long step fails
    // in two ways.
    assert_eq!(with.len() - without.len(), (3 + 4 + 4 + 4) * 2 * 2 + 4 * 2);
    let unrecorded = with.iter().filter(|it| it.event == Event::Unrecorded);
    assert!(unrecorded.clone().all(|it| it.step == "copy") && unrecorded.count() > 0);
    let failed = with.iter().filter(|it| it.event.fails());
    for case in failed {
        assert!(case.may_fail() && !case.may_give_up(), "{case}");
    }
    let looked_for = with.iter().filter(|it| it.event == Event::Reconnecting);
    let looked_for: Vec<String> = looked_for.map(Case::to_string).collect();
    assert!(looked_for.contains(&"stop:undo-reconnecting:controller:rollback".to_owned()));
    assert!(!looked_for.iter().any(|it| it.contains("agent")));
}

#[test]
fn what_is_done_before_the_target_may_write_is_hit_on_an_early_way_back_too() {
    let (mut steps, mut moments) = three_steps();
    let random = || Random::seeded(1);
    let without = cases(&steps, &moments, BACK, &mut random()).unwrap();
    for (step, legs) in [
        ("make", &[Leg::There, Leg::Back][..]),
        ("hand-over-volume", &[Leg::There, Leg::Back][..]),
    ] {
        steps.push(step.to_owned());
        for leg in legs {
            moments.push(seen(step, *leg, Event::Intended, &[], 0));
            moments.push(seen(step, *leg, Event::Finished, &[], 1));
        }
    }
    assert_eq!(turn(&steps), Some(3));
    // An early way back of which nothing was seen is none.
    let error = cases(&steps, &moments, BACK, &mut random()).unwrap_err();
    assert!(error.to_string().contains("early rollback"), "{error}");
    let early = moments.iter().filter(|it| it.leg == Leg::Back).take(6);
    let early: Vec<Moment> = early
        .map(|it| Moment {
            leg: Leg::Early,
            ..it.clone()
        })
        .collect();
    moments.extend(early);
    let with = cases(&steps, &moments, BACK, &mut random()).unwrap();
    let early = with.iter().filter(|it| it.leg == Leg::Early);
    assert_eq!(early.clone().count(), without.len() / 2);
    assert!(early.clone().all(|it| it.step != "make"));
    for case in early {
        assert_eq!(case.to_string().parse().as_ref(), Ok(case));
    }
}

#[test]
fn words_about_the_run_are_moments_too() {
    let (steps, mut moments) = three_steps();
    let without = cases(&steps, &moments, BACK, &mut Random::seeded(1)).unwrap();
    for (word, leg) in [
        ("downtime-started", Leg::There),
        ("rolling-back", Leg::Back),
    ] {
        let event = Event::of_run(word).unwrap();
        moments.push(seen(RUN, leg, event, &[Victim::Sidecar], 0));
    }
    let with = cases(&steps, &moments, BACK, &mut Random::seeded(1)).unwrap();
    // Controller, two engines, and the agent; two ways. The machine; one way.
    assert_eq!(with.len(), without.len() + 2 * (4 * 2 + 1));
    for case in with.iter().filter(|it| it.step == RUN) {
        assert_eq!(case.to_string().parse().as_ref(), Ok(case));
    }
    let name = "run:undo-rolling-back:sidecar:resume";
    assert!(with.iter().any(|it| it.to_string() == name));
    assert_eq!(Event::of_run("progress"), None);
}

#[test]
fn what_a_step_asks_the_engine_for_is_refused_once() {
    let (steps, mut moments) = three_steps();
    let random = || Random::seeded(1);
    let without = cases(&steps, &moments, BACK, &mut random()).unwrap();
    assert!(without.iter().all(|it| it.victim != Victim::Answer));
    for moment in &mut moments {
        let asked = moment.step == "stop" && moment.event == Event::Finished;
        moment.requests = if asked { 11 } else { 2 };
    }
    let with = cases(&steps, &moments, BACK, &mut random()).unwrap();
    let refused = with.iter().filter(|it| it.is_refused());
    let names: Vec<String> = refused.clone().map(Case::to_string).collect();
    let expected = [
        "stop:request-0:answer:resume",
        "stop:request-3:answer:resume",
        "stop:request-6:answer:resume",
        "stop:undo-request-0:answer:resume",
        "stop:undo-request-3:answer:resume",
        "stop:undo-request-6:answer:resume",
    ];
    assert_eq!(names, expected);
    assert_eq!(with.len() - without.len(), expected.len());
    for case in refused {
        assert_eq!(case.to_string().parse().as_ref(), Ok(case));
        assert!(case.may_fail() && !case.may_give_up(), "{case}");
    }
    assert_eq!([0, 1, 2, 3].map(|n| some(n).len()), [0, 1, 2, 3]);
}

#[test]
fn a_note_is_a_moment_and_a_controller_dies_twice() {
    let (steps, mut moments) = three_steps();
    moments.push(seen("copy", Leg::There, Event::Noted, &[], 5));
    let all = cases(&steps, &moments, BACK, &mut Random::seeded(1)).unwrap();
    let noted = all.iter().filter(|it| it.event == Event::Noted);
    // Controller and two engines both ways, the machine one.
    assert_eq!(noted.clone().count(), 3 * 2 + 1);
    let again = all.iter().filter(|it| it.event == Event::Again);
    assert!(again.clone().all(|it| it.victim == Victim::Controller));
    assert_eq!(again.clone().count(), 3 * 2 * 2);
    for case in noted.chain(again) {
        assert_eq!(case.to_string().parse().as_ref(), Ok(case));
    }
}

#[test]
fn an_agent_that_a_step_starts_is_hit_when_it_is_there() {
    let (steps, mut moments) = three_steps();
    moments[0].appeared = vec![Victim::Sidecar];
    // Twice in a step, it is hit once.
    let mut noted = seen("look", Leg::There, Event::Noted, &[], 5);
    noted.appeared = vec![Victim::Sidecar, Victim::SecondAgent];
    moments.push(noted);
    // Behind the end of a step it is none of its own.
    moments[1].appeared = vec![Victim::ClientAgent];
    let all = cases(&steps, &moments, BACK, &mut Random::seeded(1)).unwrap();
    let appeared = all.iter().filter(|it| it.event == Event::Appeared);
    let names: Vec<String> = appeared.clone().map(Case::to_string).collect();
    let expected = [
        "look:appeared:sidecar:resume",
        "look:appeared:sidecar:rollback",
        "look:appeared:second-agent:resume",
        "look:appeared:second-agent:rollback",
    ];
    assert_eq!(names, expected);
    for case in appeared {
        assert_eq!(case.to_string().parse().as_ref(), Ok(case));
    }
}

#[test]
fn a_step_that_the_run_said_nothing_of_is_an_error() {
    let (mut steps, moments) = three_steps();
    steps.push("new".to_owned());
    let error = cases(&steps, &moments, BACK, &mut Random::seeded(1)).unwrap_err();
    assert!(error.to_string().contains("`new`"), "{error}");
}

#[test]
fn a_name_is_enough_to_repeat_a_case() {
    let (steps, moments) = three_steps();
    for case in cases(&steps, &moments, BACK, &mut Random::seeded(2)).unwrap() {
        assert_eq!(case.to_string().parse(), Ok(case));
    }
    assert_eq!("copy:within-x:controller:resume".parse::<Case>(), Err(()));
    assert_eq!("copy".parse::<Case>(), Err(()));
}

#[test]
fn cases_are_chosen_by_parts_of_their_names_or_by_whole_ones() {
    let (steps, moments) = three_steps();
    let all = cases(&steps, &moments, BACK, &mut Random::seeded(2)).unwrap();
    let chosen = named(
        all.clone(),
        "stop:undo,look:intended",
        &Victim::ON_OWN_ENGINE,
    );
    let fits = |case: &Case| {
        case.step == "stop" && case.leg == Leg::Back
            || case.step == "look" && case.leg == Leg::There && case.event == Event::Intended
    };
    assert_eq!(
        chosen,
        all.iter()
            .filter(|it| fits(it))
            .cloned()
            .collect::<Vec<_>>()
    );
    // A moment that only another run knew.
    let name = "copy:within-7ms:controller:resume";
    assert_eq!(
        named(all.clone(), name, &Victim::ON_OWN_ENGINE),
        [name.parse().unwrap()]
    );
    assert_eq!(named(all, name, &Victim::ENGINES), []);
}

#[test]
fn a_slice_of_more_than_there_is_is_all_and_none_comes_twice() {
    let (steps, moments) = three_steps();
    let all = cases(&steps, &moments, BACK, &mut Random::seeded(3)).unwrap();
    assert_eq!(slice(&all, all.len() + 1), all);
    let most = slice(&all, all.len() - 1);
    for case in &most {
        assert_eq!(most.iter().filter(|it| *it == case).count(), 1, "{case}");
    }
}

#[test]
fn a_slice_has_every_victim_both_ways_and_the_way_back() {
    let (steps, moments) = three_steps();
    let all = cases(&steps, &moments, BACK, &mut Random::seeded(3)).unwrap();
    let chosen = slice(&all, 10);
    assert_eq!(chosen.len(), 10);
    let has = |what: &dyn Fn(&Case) -> bool| chosen.iter().any(what);
    for victim in [
        Victim::Controller,
        Victim::VolumeAgent,
        Victim::ENGINES[0],
        Victim::ENGINES[1],
    ] {
        for way in [Way::Resume, Way::Rollback] {
            assert!(
                has(&|case| case.victim == victim && case.way == way),
                "{victim:?}"
            );
        }
    }
    assert!(has(&|case| case.leg == Leg::Back) && has(&|case| case.leg == Leg::There));
    assert_eq!(chosen, slice(&all, 10));
}
