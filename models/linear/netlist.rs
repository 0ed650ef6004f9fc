//! The cell array and boards as SPICE netlists.
//!
//! Noise is a sequence of normals, one every `dt`, joined by straight lines, as in the netlists of couplings. A capacitance matrix
//! is a network of capacitors: −C_ij between two nodes, and the sum of a row from a node to ground. Where that is negative, the
//! board has a bridge that inverts; SPICE takes the negative capacitor as it is.

use std::fmt::Write;

use thermograd::CellArray;
use thermograd::export::circuit::{check_table, record};

use crate::error::{Error, Result};
use crate::linear::board::Board;

/// The transient of a netlist, in seconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Transient {
    /// Of noise and of the table.
    pub dt: f64,
    /// The end.
    pub end: f64,
}

/// What turns the numbers of a cell array into components: x = v/volts, time = t/(ohms · farads).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Units {
    /// Of a capacitance of 1.
    pub farads: f64,
    /// Of a resistance of 1.
    pub ohms: f64,
    /// Of a voltage of 1.
    pub volts: f64,
}

impl Default for Units {
    fn default() -> Self {
        Self { farads: 1e-9, ohms: 1e3, volts: 1e-3 }
    }
}

/// The netlist of an array of cells, which writes the voltages of the nodes to `table`.
///
/// # Errors
/// Those of [`CellArray::dynamics`], and [`Error::Request`] for a transient that has no steps.
pub fn cells(array: &CellArray, units: Units, transient: Transient, table: &str) -> Result<String> {
    let _ = array.dynamics()?;
    let (c, n) = (&array.capacitance, array.capacitance.nrows());
    let second = units.ohms * units.farads;
    let Transient { dt, end } = transient;
    let mut text = String::from(
        "* An array of RLC cells whose voltages have the covariance kappa0 R C^-1 (thermograd)\n\
         * C dv/dt = -v/R - i + noise, L di/dt = v\n",
    );
    let mut say = |line: String| text.push_str(&format!("{line}\n"));
    say(format!(
        "* x = v / {:e} V, time = t / {second:e} s, a capacitance of 1 is {:e} F",
        units.volts, units.farads
    ));
    // √(2κ₀/dt) in units of the current C V/t.
    let kappa = array.kt / array.resistance;
    let sd = (2.0 * kappa / (dt / second)).sqrt() * units.farads * units.volts / second;
    for i in 0..n {
        let ground: f64 = (0..n).map(|j| c[(i, j)]).sum();
        if ground != 0.0 {
            say(format!("C{i} n{i} 0 {:e}", ground * units.farads));
        }
        for j in 0..i {
            if c[(i, j)] != 0.0 {
                say(format!("C{i}_{j} n{i} n{j} {:e}", -c[(i, j)] * units.farads));
            }
        }
        say(format!("R{i} n{i} 0 {:e}", array.resistance * units.ohms));
        say(format!("L{i} n{i} 0 {:e}", array.inductance * units.ohms * second));
        say(format!("I{i} 0 n{i} DC 0 TRNOISE({sd:e} {dt:e} 0 0)"));
    }
    let names: Vec<String> = (0..n).map(|i| format!("n{i}")).collect();
    finish(&mut text, &names, Transient { dt, end }, units.volts, table)?;
    Ok(text)
}

/// The netlist of a board under noise of `density` V²/Hz (two-sided) and strength 1.
///
/// # Errors
/// Those of [`Board::conductance`], and [`Error::Request`] for a transient that has no steps.
pub fn board(board: &Board, density: f64, transient: Transient, table: &str) -> Result<String> {
    let _ = board.conductance()?;
    let mut text = format!("* {} (thermograd)\n", board.name.escape_default());
    for (i, farads) in board.capacitors.iter().enumerate() {
        let _ = writeln!(text, "C{0} n{0} 0 {farads:e}", i + 1);
    }
    for (k, drive) in board.drives.iter().enumerate() {
        let sd = drive.strength * (density / transient.dt).sqrt();
        let _ = writeln!(text, "V{k} d{k} 0 DC 0 TRNOISE({sd:e} {:e} 0 0)", transient.dt);
        let _ = writeln!(text, "RD{k} d{k} n{} {:e}", drive.node, drive.ohms);
    }
    let name = |node: usize| if node == 0 { "0".into() } else { format!("n{node}") };
    for (k, resistor) in board.resistors.iter().enumerate() {
        let [a, b] = resistor.nodes.map(name);
        let _ = writeln!(text, "R{k} {a} {b} {:e}", resistor.ohms);
    }
    let names: Vec<String> = (1..=board.nodes()).map(name).collect();
    let volts = (density / transient.dt).sqrt();
    finish(&mut text, &names, transient, volts, table)?;
    Ok(text)
}

/// The transient, and the table of its voltages.
fn finish(text: &mut String, nodes: &[String], transient: Transient, volts: f64, table: &str) -> Result<()> {
    let Transient { dt, end } = transient;
    if !(dt > 0.0 && end > dt && end.is_finite()) {
        return Err(Error::Request(format!("a transient of steps of {dt} s until {end} s")));
    }
    check_table(table)?;
    let _ = writeln!(text, ".options reltol=1e-3 trtol=7 vntol={:e}", 1e-5 * volts);
    let _ = writeln!(text, ".tran {dt:e} {end:e} 0 {dt:e} uic");
    record(text, nodes, table);
    text.push_str("quit\n.endc\n.end\n");
    Ok(())
}
