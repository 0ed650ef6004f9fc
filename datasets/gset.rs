//! Weighted graphs in the rudy format of the G-set (Y. Ye, 2003; G. Rinaldi's generator `rudy`).
//!
//! ```text
//! nodes edges
//! i j weight        for every edge; nodes are counted from 1, and a weight that is left out is 1
//! ```

use std::collections::HashMap;

use crate::text::{TextProblem, number};

/// A graph with weighted edges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Graph {
    /// How many nodes.
    pub nodes: usize,
    /// Pairs of nodes, counted from 0, and their weights.
    pub edges: Vec<([usize; 2], i64)>,
}

/// Nodes, at most.
const MOST: usize = 1 << 24;

impl Graph {
    /// Reads a graph.
    ///
    /// # Errors
    /// [`TextProblem`] with the line: of a node that there is not, of an edge from a node to itself or that is there twice, of
    /// weights whose sum of magnitudes overflows, and when there are not as many edges as declared.
    pub fn decode(text: &str) -> Result<Self, TextProblem> {
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.split_whitespace().collect::<Vec<_>>()))
            .filter(|(_, words)| !words.is_empty());
        let (line, head) = lines.next().ok_or_else(|| TextProblem::Whole("it is empty".into()))?;
        let &[nodes, declared] = &head[..] else {
            return Err(TextProblem::line(line, "the first line is `nodes edges`"));
        };
        let nodes: usize = number(nodes, line, "the number of nodes")?;
        let declared: usize = number(declared, line, "the number of edges")?;
        if nodes == 0 || nodes > MOST {
            return Err(TextProblem::line(line, format!("{nodes} nodes: between 1 and {MOST} are possible")));
        }
        let (mut edges, mut seen, mut sum) = (Vec::new(), HashMap::new(), 0_i64);
        for (line, words) in lines {
            let (i, j, weight) = match words[..] {
                [i, j] => (i, j, "1"),
                [i, j, weight] => (i, j, weight),
                _ => return Err(TextProblem::line(line, "an edge is `node node weight`")),
            };
            let i: usize = number(i, line, "a node")?;
            let j: usize = number(j, line, "a node")?;
            let weight: i64 = number(weight, line, "a weight, which must be a whole number of 64 bits,")?;
            if i == 0 || j == 0 || i > nodes || j > nodes {
                return Err(TextProblem::line(line, format!("nodes {i} and {j}: they are 1 to {nodes}")));
            }
            if i == j {
                return Err(TextProblem::line(line, format!("an edge from node {i} to itself")));
            }
            let pair = [i.min(j) - 1, i.max(j) - 1];
            if let Some(before) = seen.insert(pair, line) {
                return Err(TextProblem::line(
                    line,
                    format!("the edge of {i} and {j} is there again; it was on line {before}"),
                ));
            }
            sum = weight
                .checked_abs()
                .and_then(|weight| sum.checked_add(weight))
                .filter(|&sum| sum < 1 << 53)
                .ok_or_else(|| TextProblem::line(line, "the weights add up to 2^53 or more"))?;
            edges.push((pair, weight));
        }
        if edges.len() != declared {
            let found = edges.len();
            return Err(TextProblem::Whole(format!("{declared} edges are declared, and {found} were found")));
        }
        Ok(Self { nodes, edges })
    }

    /// The sum of the weights of edges between the two sides.
    ///
    /// # Panics
    /// When there are fewer sides than nodes.
    pub fn cut(&self, side: &[bool]) -> i64 {
        self.edges.iter().filter(|([i, j], _)| side[*i] != side[*j]).map(|(_, weight)| weight).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphs_are_read_and_cut() {
        let graph = Graph::decode("3 3\n1 2 5\n2 3 -1\n\n3 1\n").unwrap();
        assert_eq!(graph.edges, [([0, 1], 5), ([1, 2], -1), ([0, 2], 1)]);
        assert_eq!((graph.cut(&[true, false, true]), graph.cut(&[true; 3])), (4, 0));
    }

    #[test]
    fn broken_graphs_are_refused_with_their_line() {
        for (text, part) in [
            ("", "empty"),
            ("3\n", "line 1: the first line"),
            ("0 0\n", "0 nodes"),
            ("99999999999 0\n", "nodes"),
            ("3 1\n1 4 1\n", "line 2: nodes 1 and 4"),
            ("3 1\n0 1 1\n", "they are 1 to 3"),
            ("3 1\n\n2 2 1\n", "line 3: an edge from node 2 to itself"),
            ("3 2\n1 2 1\n2 1 4\n", "line 3: the edge of 2 and 1 is there again; it was on line 2"),
            ("3 1\n1 2 NaN\n", "`NaN`"),
            ("3 1\n1 2 1.5\n", "whole number"),
            ("3 1\n1 2 9223372036854775808\n", "64 bits"),
            ("3 2\n1 2 9223372036854775807\n2 3 1\n", "line 2: the weights add up"),
            ("3 1\n1 2 -9223372036854775808\n", "line 2: the weights add up"),
            ("3 2\n1 2 1\n", "2 edges are declared, and 1"),
            ("3 1\n1 2 3 4\n", "an edge is"),
        ] {
            let error = Graph::decode(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
