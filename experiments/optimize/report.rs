//! The report: the solution drawn, and how it was found.

use anyhow::Result;
use maud::{Markup, PreEscaped, html};
use plotters::style::RGBColor;
use thermograd_experiments::report::{COLOURS, Chart, Line, document, facts};

use crate::arguments::{Common, Solver};
use crate::instance::{Instance, Kind, Solution};
use crate::runs::{Done, best};
use crate::summary::Summary;

/// Lines of replicas and units, at most.
const LINES: usize = 24;

pub fn page(instance: &Instance, common: &Common, all: &[Done], summary: &Summary) -> Result<String> {
    let title = match instance.kind {
        Kind::Cut(_) => "A cut by thermal noise",
        Kind::Form(_) => "A spin model by thermal noise",
        Kind::Tour(..) => "A tour by thermal noise",
        Kind::Assignment(..) => "An assignment by thermal noise",
        Kind::Partition(_) => "A partition by thermal noise",
    };
    let first = best(instance, all).unwrap_or(&all[0]);
    let body = html! {
        (facts(&numbers(summary)))
        @if let Some(solution) = &first.solution { (drawn(instance, solution)?) }
        (course(instance, first)?)
        (ladder(first)?)
        (histogram(instance, all)?)
        (units(common, first)?)
    };
    Ok(document(title, &body))
}

fn numbers(s: &Summary) -> Vec<(&'static str, String)> {
    let solver = match s.solver {
        Solver::Tempering => "parallel tempering",
        Solver::Annealing => "simulated annealing",
        Solver::Langevin => "bistable units, cooled through their bifurcation",
    };
    let none = || format!("none of {} runs keeps all constraints", s.runs);
    let mut rows = vec![
        ("problem", format!("{}, {}", s.problem, s.instance)),
        ("solver", format!("{solver}, seed {}, {} runs", s.seed, s.runs)),
        (s.objective_is, s.objective.map_or_else(none, |objective| objective.to_string())),
    ];
    if let Some(signs) = s.objective_of_signs {
        rows.push(("before descent", signs.to_string()));
    }
    if let Some(distance) = s.distance() {
        rows.push(("best known", distance));
    }
    if let (Some(successes), Some(time)) = (s.successes, s.time()) {
        rows.push(("reached", format!("{successes} of {} runs", s.runs)));
        rows.push(("time to solution", time));
    }
    if let Some(differencing) = s.differencing {
        rows.push(("differencing of Karmarkar and Karp", differencing.to_string()));
    }
    rows.push((
        "a run",
        format!(
            "{:.2} s on one thread, {:.3e} sweeps, {}, {:.2e} J at the price of a try; nothing else a device would need is \
             counted",
            s.seconds, s.sweeps, s.moves(), s.joules
        ),
    ));
    rows
}

fn svg(chart: String) -> Markup {
    html! { figure { (PreEscaped(chart)) } }
}

/// The solution.
fn drawn(instance: &Instance, solution: &Solution) -> Result<Markup> {
    Ok(match (&instance.kind, solution) {
        (Kind::Tour(cities, _), Solution::Tour(tour)) => {
            let Some(places) = &cities.places else {
                return Ok(
                    html! { p { "Where the cities are is not known: " code { "solution.tour" } " lists them." } },
                );
            };
            let points: Vec<(f64, f64)> =
                tour.iter().chain(tour.first()).map(|&city| (places[city][0], places[city][1])).collect();
            let chart = Chart { title: "", x: "x", y: "y", size: (620, 560), y_range: None };
            let line = Line { name: "", colour: COLOURS[0], width: 2, points: points.clone() };
            html! {
                h2 { "The tour" }
                p { (tour.len()) " cities, " (cities.length(tour)) " long." }
                (svg(chart.svg_with(&[line], &points, &[])?))
            }
        }
        (Kind::Assignment(one, ..), Solution::Agents(agents)) => {
            let (_, loads) = one.judge(agents);
            let bar = |(k, (load, capacity)): (usize, (&i64, &i64))| {
                let (x, width) = (k as f64, 0.35);
                let load = *load as f64;
                let points = vec![(x - width, 0.0), (x - width, load), (x + width, load), (x + width, 0.0)];
                let top = vec![(x - 0.45, *capacity as f64), (x + 0.45, *capacity as f64)];
                [(COLOURS[0], points), (COLOURS[1], top)]
            };
            let lines: Vec<Line> = loads
                .iter()
                .zip(&one.capacities)
                .enumerate()
                .flat_map(bar)
                .map(|(colour, points)| Line { name: "", colour, width: 2, points })
                .collect();
            let names: Vec<String> = (1..=loads.len()).map(|agent| agent.to_string()).collect();
            let chart = Chart { title: "", x: "agent", y: "load", size: (640, 320), y_range: None };
            html! {
                h2 { "Loads" }
                p { "What every agent has to do, in blue, and what it can, in orange." }
                (svg(chart.svg_with(&lines, &[], &names)?))
            }
        }
        (Kind::Cut(graph), Solution::Spins(spins)) => {
            let up = spins.iter().filter(|s| **s > 0).count();
            let cut = graph.edges.iter().filter(|([i, j], _)| spins[*i] != spins[*j]).count();
            html! {
                h2 { "The cut" }
                p {
                    (up) " nodes on one side and " (spins.len() - up) " on the other; " (cut) " of " (graph.edges.len()) " edges are between them."
                }
            }
        }
        (Kind::Form(_), Solution::Spins(spins)) => {
            let up = spins.iter().filter(|s| **s > 0).count();
            html! { h2 { "The state" } p { (up) " of " (spins.len()) " spins are up." } }
        }
        (Kind::Partition(numbers), Solution::Spins(spins)) => {
            let sum = |side: i8| -> i64 {
                numbers.all().iter().zip(spins).filter(|(_, s)| **s == side).map(|(number, _)| number).sum()
            };
            html! {
                h2 { "The halves" }
                p { (sum(1)) " and " (sum(-1)) "." }
            }
        }
        _ => html! {},
    })
}

/// The best of a run, and all its replicas, over sweeps.
fn course(instance: &Instance, done: &Done) -> Result<Markup> {
    if done.looks.len() < 2 {
        return Ok(html! {});
    }
    let chains = done.looks[0].energies.len();
    let each = chains.div_ceil(LINES).max(1);
    let mut lines: Vec<Line> = (0..chains)
        .step_by(each)
        .map(|chain| {
            let at = |look: &thermograd_models::optimize::search::Look| {
                (look.sweeps as f64, instance.of_energy(look.energies[chain]))
            };
            let colour = shade(chain as f64 / chains as f64);
            Line { name: "", colour, width: 1, points: done.looks.iter().map(at).collect() }
        })
        .collect();
    let seen = done.looks.iter().filter(|look| look.best.is_finite());
    let points = match chains {
        // Of langevin it is the objective already.
        0 => seen.map(|look| (look.sweeps as f64, look.best)).collect(),
        _ => seen.map(|look| (look.sweeps as f64, instance.of_energy(look.best))).collect(),
    };
    lines.push(Line { name: "", colour: RGBColor(0, 0, 0), width: 2, points });
    let chart = Chart { title: "", x: "sweeps", y: instance.objective(), size: (640, 340), y_range: None };
    Ok(html! {
        h2 { "The course of the best run" }
        p {
            "Black: the best so far. "
            @if !done.acceptance.is_empty() { "Each line is a temperature, red the hottest and blue the coldest." }
            @else if chains > 0 { "Each line is a chain." }
        }
        (svg(chart.svg(&lines)?))
    })
}

/// From red to blue.
fn shade(part: f64) -> RGBColor {
    let mix = |a: f64, b: f64| (a + (b - a) * part) as u8;
    RGBColor(mix(220.0, 60.0), mix(120.0, 130.0), mix(90.0, 220.0))
}

/// How often neighbours on the ladder exchange.
fn ladder(done: &Done) -> Result<Markup> {
    if done.acceptance.is_empty() {
        return Ok(html! {});
    }
    let points = done.acceptance.iter().enumerate().map(|(rung, part)| (rung as f64 + 0.5, *part)).collect();
    let chart = Chart {
        title: "",
        x: "rung, from hot to cold",
        y: "exchanges accepted",
        size: (640, 280),
        y_range: Some((0.0, 1.0)),
    };
    let ends = done.betas.first().zip(done.betas.last());
    Ok(html! {
        h2 { "Exchanges" }
        p {
            (done.round_trips) " replicas went from the hottest temperature to the coldest and back"
            @if let Some((hot, cold)) = ends { ", " (format!("{:.3}", 1.0 / hot)) " and " (format!("{:.3}", 1.0 / cold)) " in units of the energy" }
            "."
        }
        (svg(chart.line(points)?))
    })
}

/// The objectives of all runs.
fn histogram(instance: &Instance, all: &[Done]) -> Result<Markup> {
    let values: Vec<f64> = all.iter().filter_map(Done::objective).collect();
    if values.len() < 2 {
        return Ok(html! {});
    }
    let (low, high) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &x| (low.min(x), high.max(x)));
    let bins = ((high - low) as usize + 1).clamp(1, 30);
    let width = ((high - low) / bins as f64).max(1e-9);
    let mut counts = vec![0.0; bins];
    values.iter().for_each(|&x| counts[(((x - low) / width) as usize).min(bins - 1)] += 1.0);
    let mut points = vec![(low, 0.0)];
    for (k, &count) in counts.iter().enumerate() {
        let (a, b) = (low + k as f64 * width, low + (k + 1) as f64 * width);
        points.extend([(a, count), (b, count)]);
    }
    points.push((low + bins as f64 * width, 0.0));
    let chart = Chart { title: "", x: instance.objective(), y: "runs", size: (640, 280), y_range: None };
    Ok(html! {
        h2 { "All runs" }
        p { (values.len()) " of " (all.len()) " runs found a solution." }
        (svg(chart.line(points)?))
    })
}

/// Units that choose sides.
fn units(common: &Common, done: &Done) -> Result<Markup> {
    if common.solver != Solver::Langevin || done.path.is_empty() {
        return Ok(html! {});
    }
    let count = done.path[0].1.len();
    let lines: Vec<Line> = (0..count)
        .map(|unit| Line {
            name: "",
            colour: COLOURS[unit % COLOURS.len()],
            width: 1,
            points: done.path.iter().map(|(time, x)| (*time, x[unit])).collect(),
        })
        .collect();
    let chart = Chart { title: "", x: "time, 1/μ", y: "x", size: (640, 320), y_range: None };
    Ok(html! {
        h2 { "Units that choose sides" }
        p { "The first " (count) " units of a replica, while J₂ and kT fall." }
        (svg(chart.svg(&lines)?))
    })
}
