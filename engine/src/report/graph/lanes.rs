//! The lines beside the steps of the text form: one lane for each step that a later one still needs.

use super::Drawing;

/// How many lanes are drawn side by side; of a wider plan no reader could follow them.
const MOST: usize = 10;

/// What stands before the texts of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// What is left of the mark of the step.
    pub left: String,
    /// What is right of it.
    pub right: String,
    /// The lanes that go on below it.
    pub below: String,
}

/// A lane: the step that it comes from, and how many steps below still need it.
#[derive(Debug, Clone, Copy)]
struct Lane {
    step: usize,
    awaited: usize,
}

/// Draws the lanes, one row for each step; `None` where there would be too many.
pub(super) fn draw(drawing: &Drawing<'_>) -> Option<Vec<Row>> {
    let mut awaited = vec![0_usize; drawing.nodes.len()];
    for (need, _) in drawing.edges() {
        awaited[need] += 1;
    }
    let mut lanes: Vec<Option<Lane>> = Vec::new();
    let mut rows = Vec::with_capacity(drawing.nodes.len());
    for (at, node) in drawing.nodes.iter().enumerate() {
        let joined = join(&mut lanes, &node.needs);
        let own = own_column(&mut lanes, &joined);
        let (left, right) = row(&lanes, &joined, own);
        for (column, ends) in &joined {
            if *ends {
                lanes[*column] = None;
            }
        }
        lanes[own] = (awaited[at] > 0).then_some(Lane { step: at, awaited: awaited[at] });
        while lanes.last().is_some_and(Option::is_none) {
            lanes.pop();
        }
        if lanes.len() > MOST {
            return None;
        }
        let below: String = lanes.iter().map(|lane| if lane.is_some() { "│ " } else { "  " }).collect();
        rows.push(Row { left, right, below: below.trim_end().to_owned() });
    }
    Some(rows)
}

/// Takes the needs of a step from their lanes. Returns the columns, and whether the lane ends there.
fn join(lanes: &mut [Option<Lane>], needs: &[usize]) -> Vec<(usize, bool)> {
    let mut joined = Vec::new();
    for (column, lane) in lanes.iter_mut().enumerate() {
        let Some(lane) = lane.as_mut().filter(|lane| needs.contains(&lane.step)) else { continue };
        lane.awaited -= 1;
        joined.push((column, lane.awaited == 0));
    }
    joined
}

/// Finds the column of a step: that of a lane which ends in it, else one that is free.
fn own_column(lanes: &mut Vec<Option<Lane>>, joined: &[(usize, bool)]) -> usize {
    if let Some((column, _)) = joined.iter().find(|(_, ends)| *ends) {
        return *column;
    }
    let from = joined.first().map_or(0, |(column, _)| *column);
    let free = (from..lanes.len()).find(|column| lanes[*column].is_none());
    free.unwrap_or_else(|| {
        lanes.push(None);
        lanes.len() - 1
    })
}

fn row(lanes: &[Option<Lane>], joined: &[(usize, bool)], own: usize) -> (String, String) {
    let first = joined.iter().map(|(column, _)| *column).chain([own]).min().unwrap_or(own);
    let last = joined.iter().map(|(column, _)| *column).chain([own]).max().unwrap_or(own);
    let (mut left, mut right) = (String::new(), String::new());
    for (column, lane) in lanes.iter().enumerate() {
        let out = if column <= own { &mut left } else { &mut right };
        let between = first < column && column < last;
        let met = joined.iter().find(|(joined, _)| *joined == column).map(|(_, ends)| *ends);
        if column != own {
            out.push(match (met, lane) {
                (Some(true), _) if column == first => '╰',
                (Some(true), _) if column == last => '╯',
                (Some(true), _) => '┴',
                (Some(false), _) if column == first => '├',
                (Some(false), _) if column == last => '┤',
                (Some(false), _) => '┼',
                (None, Some(_)) => '│',
                (None, None) if between => '─',
                (None, None) => ' ',
            });
        }
        let out = if column < own { &mut left } else { &mut right };
        out.push(if first <= column && column < last { '─' } else { ' ' });
    }
    (left, right.trim_end().to_owned())
}
