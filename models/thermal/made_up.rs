//! A house that is made up, whose truth is known.

use rand::RngExt;
use thermograd::Key;

use crate::error::Result;
use crate::thermal::house::{House, Parameter, Record};
use crate::thermal::kalman::Machine;

/// How a made-up house is heated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heating {
    /// Set points that change at random every six to twelve hours.
    Setpoints,
    /// A thermostat with a colder night.
    Thermostat,
}

/// The true numbers of the made-up house, in the order of [`House::parameters`]: first guesses are off by 30 %, as those of someone
/// who knows the house a little.
pub fn truth(house: &House, key: Key) -> Vec<f64> {
    let parameters = house.parameters(1.0);
    let normals = key.fork("truth").normals(0, 1, parameters.len());
    let of = |(parameter, normal): (Parameter, f32)| match parameter.name.split(' ').next() {
        Some("σ") => 0.3 * parameter.guess,
        Some("s") => 0.05,
        Some("T₀") => parameter.guess,
        _ => parameter.guess * (0.3 * f64::from(normal)).exp(),
    };
    parameters.into_iter().zip(normals).map(of).collect()
}

/// What the sensors of the two [rooms](House::rooms) record in so many days, an hour a row: weather that changes from day to day, heaters
/// of 3 kW that keep set points, noise of nodes and of sensors.
///
/// # Errors
/// Those of [`Record::new`].
pub fn made(house: &House, parameters: &[f64], days: usize, heating: Heating, key: Key) -> Result<Record> {
    let rows = 24 * days;
    let step = Machine::<f64>::new(house, parameters).transition(1.0);
    let layout = house.layout();
    let mut rng = key.fork("weather").rng();
    let mut uniform = |low: f64, high: f64| low + (high - low) * rng.random::<f64>();
    let (mut outdoors, mut sun, mut drift, mut clear) = (Vec::new(), Vec::new(), 0.0, 0.6);
    for row in 0..rows {
        if row % 24 == 0 {
            (drift, clear) = (0.6 * drift + uniform(-3.0, 3.0), uniform(0.1, 1.0));
        }
        let angle = std::f64::consts::TAU * ((row % 24) as f64 - 14.0) / 24.0;
        outdoors.push(3.0 + drift + 3.5 * angle.cos() + uniform(-0.3, 0.3));
        let height = (std::f64::consts::PI * ((row % 24) as f64 - 7.0) / 10.0).sin();
        let day = (7..17).contains(&(row % 24));
        sun.push(if day { 0.5 * height * clear * uniform(0.7, 1.0) } else { 0.0 });
    }
    let sensors = house.sensors();
    let mut points = vec![20.0; sensors.len()];
    let mut temperatures = vec![19.0; house.nodes.len()];
    let (mut measured, mut heat) = (vec![Vec::new(); sensors.len()], vec![Vec::new(); sensors.len()]);
    let noise = key.fork("noise");
    for row in 0..rows {
        let errors = key.fork("sensors").normals(row as u32, 1, sensors.len());
        for (k, &node) in sensors.iter().enumerate() {
            let s = parameters[layout.sensor(k)];
            measured[k].push(temperatures[node] + s * f64::from(errors[k]));
            match heating {
                Heating::Setpoints if row % 6 == 0 && uniform(0.0, 1.0) < 0.7 => {
                    points[k] = uniform(17.0, 24.0)
                }
                Heating::Thermostat => points[k] = if (6..22).contains(&(row % 24)) { 21.0 } else { 18.0 },
                Heating::Setpoints => {}
            }
            heat[k].push((1.2 * (points[k] - measured[k][row])).clamp(0.0, 3.0));
        }
        let u: Vec<f64> = house
            .inputs()
            .iter()
            .map(|name| match *name {
                "outdoors" => outdoors[row],
                "sun" => sun[row],
                "P_living" => heat[0][row],
                _ => heat[1][row],
            })
            .collect();
        let normals: Vec<f64> =
            noise.normals(row as u32, 1, temperatures.len()).into_iter().map(f64::from).collect();
        temperatures = step.sampled(&temperatures, &u, &normals);
    }
    let columns = [
        ("outdoors", outdoors),
        ("sun", sun),
        ("T_living", measured[0].clone()),
        ("T_bed", measured[1].clone()),
        ("P_living", heat[0].clone()),
        ("P_bed", heat[1].clone()),
    ];
    let columns = columns.into_iter().map(|(name, column)| (name.to_owned(), column)).collect();
    Record::new((0..rows).map(|row| row as f64).collect(), columns)
}
