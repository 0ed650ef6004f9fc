//! Generalised assignment problems in the format of the OR-Library (J. E. Beasley, J. Oper. Res. Soc. 41, 1069, 1990).
//!
//! ```text
//! problems
//! agents jobs
//! cost of every job, agent by agent
//! what every job takes of an agent, agent by agent
//! capacity of every agent
//! ```

use crate::text::{TextProblem, Words};

/// Jobs that are given to agents of limited capacity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// How many agents.
    pub agents: usize,
    /// How many jobs.
    pub jobs: usize,
    /// `[agent, job]`.
    pub costs: Vec<i64>,
    /// `[agent, job]`, not negative.
    pub takes: Vec<i64>,
    /// Of every agent, not negative.
    pub capacities: Vec<i64>,
}

/// Numbers of a problem, at most.
const MOST: usize = 1 << 26;

impl Assignment {
    /// Reads all problems of a file.
    ///
    /// # Errors
    /// [`TextProblem`] with the line of a number that is none or negative, and where the file ends too early or too late.
    pub fn decode(text: &str) -> Result<Vec<Self>, TextProblem> {
        let mut words = Words::of(text);
        let count: usize = words.number("the number of problems")?;
        if count == 0 || count > 10_000 {
            return Err(TextProblem::line(words.line, format!("{count} problems: between 1 and 10000")));
        }
        let mut problems = Vec::new();
        for _ in 0..count {
            let agents: usize = words.number("the number of agents")?;
            let jobs: usize = words.number("the number of jobs")?;
            let size = agents.checked_mul(jobs).filter(|&size| size > 0 && size <= MOST);
            let Some(size) = size else {
                return Err(TextProblem::line(words.line, format!("{agents} agents and {jobs} jobs")));
            };
            let mut all = |what: &str, count: usize, least: i64| -> Result<Vec<i64>, TextProblem> {
                let mut sum = 0_i64;
                let mut values = Vec::new();
                for _ in 0..count {
                    let value: i64 = words.number(what)?;
                    if value < least {
                        return Err(TextProblem::line(words.line, format!("{what} is {value}, below 0")));
                    }
                    let added = value.checked_abs().and_then(|value| sum.checked_add(value));
                    let Some(added) = added.filter(|&sum| sum < 1 << 52) else {
                        let reason = format!("numbers that add up to more than 2^52, with {what} {value}");
                        return Err(TextProblem::line(words.line, reason));
                    };
                    sum = added;
                    values.push(value);
                }
                Ok(values)
            };
            let costs = all("a cost", size, i64::MIN)?;
            let takes = all("what a job takes", size, 0)?;
            let capacities = all("a capacity", agents, 0)?;
            problems.push(Self { agents, jobs, costs, takes, capacities });
        }
        match words.word() {
            None => Ok(problems),
            Some(_) => Err(TextProblem::line(words.line, format!("there is more after {count} problems"))),
        }
    }

    /// Why no assignment can be feasible, if that is seen at once: a job that fits no agent, or more demand than capacity.
    pub fn infeasible(&self) -> Option<String> {
        let takes = |agent: usize, job: usize| self.takes[agent * self.jobs + job];
        let mut demand = 0;
        for job in 0..self.jobs {
            let least = (0..self.agents).filter(|&agent| takes(agent, job) <= self.capacities[agent]);
            match least.map(|agent| takes(agent, job)).min() {
                Some(least) => demand += least,
                None => {
                    let least = (0..self.agents).map(|agent| takes(agent, job)).min().unwrap_or(0);
                    return Some(format!(
                        "job {} takes {least} at least and fits no agent; the largest capacity is {}",
                        job + 1,
                        self.capacities.iter().max().unwrap_or(&0)
                    ));
                }
            }
        }
        let capacity: i64 = self.capacities.iter().sum();
        (demand > capacity).then(|| {
            format!("the jobs take {demand} at least in all, and the capacities are {capacity} in all")
        })
    }

    /// The cost of an assignment, and the loads of the agents.
    ///
    /// # Panics
    /// When there are fewer agents than jobs, or one that there is not.
    pub fn judge(&self, agents: &[usize]) -> (i64, Vec<i64>) {
        let mut loads = vec![0; self.agents];
        let mut cost = 0;
        for (job, &agent) in agents[..self.jobs].iter().enumerate() {
            cost += self.costs[agent * self.jobs + job];
            loads[agent] += self.takes[agent * self.jobs + job];
        }
        (cost, loads)
    }

    /// The file of one problem.
    pub fn encode(&self) -> String {
        let rows = |values: &[i64], width: usize| -> String {
            let row = |row: &[i64]| row.iter().map(i64::to_string).collect::<Vec<_>>().join(" ") + "\n";
            values.chunks(width).map(row).collect()
        };
        let (costs, takes) = (rows(&self.costs, self.jobs), rows(&self.takes, self.jobs));
        let capacities = rows(&self.capacities, self.agents);
        format!("1\n{} {}\n{costs}{takes}{capacities}", self.agents, self.jobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_judged_and_written() {
        let text = "1\n2 3\n1 2 3\n4 5 6\n1 1 2\n2 1 1\n3 2\n";
        let problem = &Assignment::decode(text).unwrap()[0];
        assert_eq!(problem.judge(&[0, 1, 1]), (12, vec![1, 2]));
        assert_eq!(problem.infeasible(), None);
        assert_eq!(Assignment::decode(&problem.encode()).unwrap()[0], *problem);
    }

    #[test]
    fn what_is_broken_or_cannot_be_is_said() {
        for (text, part) in [
            ("", "line 1: the file ends before the number of problems"),
            ("1\n2 1\n1 1\n1 1\n5 -1\n", "line 5: a capacity is -1, below 0"),
            ("1\n2 1\n1 1\n1 -3\n5 1\n", "line 4: what a job takes is -3"),
            ("1\n2 1\n1 x\n", "line 3: a cost is `x`"),
            ("1\n1 1\n1\n1\n1\n7\n", "line 6: there is more"),
            ("1\n0 1\n", "0 agents"),
            ("1\n1 2\n9007199254740992 1\n", "add up to more"),
            ("1\n1 1\n1\n1\n", "ends before a capacity"),
        ] {
            let error = Assignment::decode(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
        let of = |text| Assignment::decode(text).unwrap()[0].infeasible().unwrap();
        assert!(of("1\n2 2\n1 1 1 1\n5 1 6 1\n4 4\n").contains("job 1 takes 5"));
        assert!(of("1\n2 3\n1 1 1 1 1 1\n2 2 2 2 2 2\n3 2\n").contains("take 6 at least in all"));
    }
}
