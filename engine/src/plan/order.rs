//! The order of the steps, the cycles that forbid one, and who is whose ancestor.
//!
//! Nothing here recurses along chains of needs, and nothing is quadratic in their length.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

/// The steps by their place in the document, with what each needs.
#[derive(Debug)]
pub(super) struct Needs(pub Vec<Vec<usize>>);

impl Needs {
    /// Returns the steps so that each comes after all that it needs, else as they are written. Steps in or behind a cycle
    /// are not among them.
    pub fn order(&self) -> Vec<usize> {
        let mut waiting: Vec<usize> = self.0.iter().map(Vec::len).collect();
        let mut needed_by = vec![Vec::new(); self.0.len()];
        for (step, needs) in self.0.iter().enumerate() {
            for need in needs {
                needed_by[*need].push(step);
            }
        }
        let mut ready: BinaryHeap<Reverse<usize>> =
            (0..self.0.len()).filter(|step| waiting[*step] == 0).map(Reverse).collect();
        let mut order = Vec::with_capacity(self.0.len());
        while let Some(Reverse(step)) = ready.pop() {
            order.push(step);
            for later in &needed_by[step] {
                waiting[*later] -= 1;
                if waiting[*later] == 0 {
                    ready.push(Reverse(*later));
                }
            }
        }
        order
    }

    /// Returns one way round for each group of steps that need each other: every step needs the next, the last the first.
    pub fn cycles(&self) -> Vec<Vec<usize>> {
        let mut graph = DiGraph::<(), ()>::with_capacity(self.0.len(), self.0.len());
        let nodes: Vec<NodeIndex> = self.0.iter().map(|_| graph.add_node(())).collect();
        for (step, needs) in self.0.iter().enumerate() {
            for need in needs {
                graph.add_edge(nodes[step], nodes[*need], ());
            }
        }
        let groups = kosaraju_scc(&graph).into_iter().filter(|group| group.len() > 1);
        let mut group_of = vec![usize::MAX; self.0.len()];
        let mut cycles = Vec::new();
        for (number, group) in groups.enumerate() {
            for node in &group {
                group_of[node.index()] = number;
            }
            let first = group.iter().map(|node| node.index()).min().unwrap_or_default();
            cycles.push(self.way_round(first, |step| group_of[step] == number));
        }
        cycles.sort();
        cycles
    }

    /// Walks along needs inside a group until a step comes again. In the group each step needs one of the group.
    fn way_round(&self, first: usize, inside: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut position = std::collections::HashMap::new();
        let mut way = Vec::new();
        let mut step = first;
        while !position.contains_key(&step) {
            position.insert(step, way.len());
            way.push(step);
            match self.0[step].iter().find(|need| inside(**need)) {
                Some(next) => step = *next,
                None => return way,
            }
        }
        let mut cycle = way.split_off(position.get(&step).copied().unwrap_or_default());
        let least = cycle.iter().enumerate().min_by_key(|(_, step)| **step).map_or(0, |(index, _)| index);
        cycle.rotate_left(least);
        cycle
    }

    /// Says for each pair (step, other) whether the step needs the other, directly or through steps between.
    ///
    /// The others are taken 64 at a time, and for each batch one pass over the part of the order between them answers all.
    pub fn ancestors(&self, order: &[usize], pairs: &[(usize, usize)]) -> Vec<bool> {
        let mut rank = vec![usize::MAX; self.0.len()];
        for (at, step) in order.iter().enumerate() {
            rank[*step] = at;
        }
        let mut answers: Vec<bool> = pairs.iter().map(|(step, other)| self.0[*step].contains(other)).collect();
        let mut open: Vec<usize> = (0..pairs.len()).filter(|pair| !answers[*pair]).collect();
        open.retain(|pair| rank[pairs[*pair].0] != usize::MAX && rank[pairs[*pair].1] < rank[pairs[*pair].0]);
        open.sort_by_key(|pair| rank[pairs[*pair].1]);
        let mut seen = vec![0_u64; order.len()];
        let mut rest = open.as_slice();
        while let Some(first) = rest.first() {
            let mut others: Vec<usize> = Vec::with_capacity(64);
            let mut taken = 0;
            for pair in rest {
                let other = rank[pairs[*pair].1];
                if others.last() != Some(&other) {
                    if others.len() == 64 {
                        break;
                    }
                    others.push(other);
                }
                taken += 1;
            }
            let (batch, later) = rest.split_at(taken);
            let from = rank[pairs[*first].1];
            let to = batch.iter().map(|pair| rank[pairs[*pair].0]).max().unwrap_or(from);
            for at in from..=to {
                let own = others.binary_search(&at).map_or(0, |bit| 1 << bit);
                let needs = self.0[order[at]].iter().map(|need| rank[*need]).filter(|need| *need >= from);
                seen[at] = needs.fold(own, |bits, need| bits | seen[need]);
            }
            for pair in batch {
                let (step, other) = pairs[*pair];
                let bit = others.binary_search(&rank[other]).unwrap_or_default();
                answers[*pair] = seen[rank[step]] >> bit & 1 == 1;
            }
            rest = later;
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_order_is_that_of_the_document_where_it_can_be() {
        assert_eq!(Needs(vec![vec![], vec![3], vec![], vec![0]]).order(), [0, 2, 3, 1]);
    }

    #[test]
    fn each_cycle_is_named_step_by_step() {
        let needs = Needs(vec![vec![2], vec![0], vec![1], vec![0], vec![5], vec![4, 3]]);
        assert_eq!(needs.cycles(), [vec![0, 2, 1], vec![4, 5]]);
        assert!(needs.order().is_empty());
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_steps_is_no_problem() {
        let count = 100_000;
        let mut chain: Vec<Vec<usize>> =
            (0..count).map(|step| if step == 0 { vec![] } else { vec![step - 1] }).collect();
        let needs = Needs(chain.clone());
        let order = needs.order();
        assert_eq!(order.len(), count);
        assert_eq!(needs.ancestors(&order, &[(count - 1, 0), (0, count - 1)]), [true, false]);
        chain[0] = vec![count - 1];
        assert_eq!(Needs(chain).cycles()[0].len(), count);
    }

    proptest! {
        #[test]
        fn ancestors_are_those_that_a_search_finds(edges in prop::collection::vec((0_usize..90, 0_usize..90), 0..150)) {
            let mut needs = vec![Vec::new(); 90];
            edges.iter().filter(|(a, b)| a < b).for_each(|(a, b)| needs[*b].push(*a));
            let needs = Needs(needs);
            let order = needs.order();
            let pairs: Vec<(usize, usize)> = (0..90).flat_map(|a| (0..90).map(move |b| (a, b))).collect();
            for ((step, other), answer) in pairs.iter().zip(needs.ancestors(&order, &pairs)) {
                let mut stack = needs.0[*step].clone();
                let mut found = false;
                while let Some(at) = stack.pop() {
                    found |= at == *other;
                    stack.extend(&needs.0[at]);
                }
                prop_assert_eq!(answer, found, "{} of {}", other, step);
            }
        }
    }
}
