//! Places boxes in layers: each below all that it needs, near to what it is joined to, with few crossings.
//!
//! The usual way for layered drawings, kept small: an edge over several layers gets a narrow bend in each between, layers are
//! ordered by the mean place of their neighbours, and places are fitted by least squares. All of it is linear in the
//! boxes and bends, but for sorting.

/// Space between boxes of a layer.
const BESIDE: f64 = 28.0;
/// Space between layers, for the edges.
const BETWEEN: f64 = 46.0;
/// How wide a bend is.
const BEND: f64 = 10.0;
/// How often the layers are gone over.
const SWEEPS: usize = 8;
/// Above this many bends, edges go straight from box to box.
const MOST_BENDS: usize = 20_000;

/// The extent of a box: along its layer, and across the layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Size {
    pub along: f64,
    pub across: f64,
}

/// A place: along the layers, and across them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub along: f64,
    pub across: f64,
}

/// Where everything is.
#[derive(Debug)]
pub(super) struct Layout {
    /// The middle of each box.
    pub boxes: Vec<Point>,
    /// The way of each edge, from box to box: pairs of points with a straight line inside of a layer, and a bow between.
    pub edges: Vec<Vec<Point>>,
    /// The extent of the whole.
    pub size: Size,
}

/// Lays out boxes with these sizes and layers. An edge leads from a lower layer to a higher one.
pub(super) fn lay_out(sizes: &[Size], layers: &[usize], edges: &[(usize, usize)]) -> Layout {
    let mut net = Net::new(sizes, layers, edges);
    for sweep in 0..SWEEPS {
        net.order(sweep % 2 == 0);
    }
    for sweep in 0..SWEEPS {
        net.fit(sweep % 2 == 0);
    }
    net.layout(sizes.len())
}

/// A box, or a bend of an edge.
struct Vertex {
    layer: usize,
    size: Size,
    /// Where it is along its layer.
    place: f64,
    before: Vec<usize>,
    after: Vec<usize>,
}

struct Net {
    vertices: Vec<Vertex>,
    layers: Vec<Vec<usize>>,
    /// The vertices of each edge.
    ways: Vec<Vec<usize>>,
}

impl Net {
    fn new(sizes: &[Size], layers: &[usize], edges: &[(usize, usize)]) -> Self {
        let vertex = |layer, size| Vertex { layer, size, place: 0.0, before: Vec::new(), after: Vec::new() };
        let vertices: Vec<Vertex> = sizes.iter().zip(layers).map(|(size, layer)| vertex(*layer, *size)).collect();
        let count = layers.iter().map(|layer| layer + 1).max().unwrap_or(0);
        let mut net = Self { vertices, layers: vec![Vec::new(); count], ways: Vec::with_capacity(edges.len()) };
        for (at, layer) in layers.iter().enumerate() {
            net.layers[*layer].push(at);
        }
        let bends: usize = edges.iter().map(|(from, to)| (layers[*to] - layers[*from]).saturating_sub(1)).sum();
        for (from, to) in edges {
            let mut way = vec![*from];
            let between = layers[*from] + 1..if bends > MOST_BENDS { 0 } else { layers[*to] };
            for layer in between {
                way.push(net.vertices.len());
                net.layers[layer].push(net.vertices.len());
                net.vertices.push(vertex(layer, Size { along: BEND, across: 0.0 }));
            }
            way.push(*to);
            for pair in way.windows(2) {
                net.vertices[pair[0]].after.push(pair[1]);
                net.vertices[pair[1]].before.push(pair[0]);
            }
            net.ways.push(way);
        }
        for layer in 0..count {
            net.number(layer);
        }
        net
    }

    /// Places a layer by the order alone.
    fn number(&mut self, layer: usize) {
        let mut place = 0.0;
        for at in &self.layers[layer] {
            self.vertices[*at].place = place;
            place += 1.0;
        }
    }

    fn neighbours(&self, at: usize, down: bool) -> &[usize] {
        let vertex = &self.vertices[at];
        if down { &vertex.before } else { &vertex.after }
    }

    fn mean(&self, neighbours: impl Iterator<Item = usize>) -> Option<f64> {
        let (sum, count) = neighbours.fold((0.0, 0.0), |(sum, count), at| (sum + self.vertices[at].place, count + 1.0));
        (count > 0.0).then(|| sum / count)
    }

    fn sweep(&self, down: bool) -> Vec<usize> {
        let layers = 0..self.layers.len();
        if down { layers.collect() } else { layers.rev().collect() }
    }

    /// Orders each layer by what its vertices are joined to in the layer before it.
    fn order(&mut self, down: bool) {
        for layer in self.sweep(down) {
            let mut keyed: Vec<(f64, usize)> = self.layers[layer]
                .iter()
                .map(|at| {
                    let mean = self.mean(self.neighbours(*at, down).iter().copied());
                    (mean.unwrap_or(self.vertices[*at].place), *at)
                })
                .collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            self.layers[layer] = keyed.into_iter().map(|(_, at)| at).collect();
            self.number(layer);
        }
    }

    /// Moves the vertices of each layer as near to what they are joined to as the order and their sizes allow.
    fn fit(&mut self, down: bool) {
        for layer in self.sweep(down) {
            let row = &self.layers[layer];
            let mut offset = 0.0;
            let mut wanted = Vec::with_capacity(row.len());
            let mut last: Option<f64> = None;
            for at in row {
                let half = self.vertices[*at].size.along / 2.0;
                offset += last.map_or(0.0, |last| last + half + BESIDE);
                last = Some(half);
                let both = self.vertices[*at].before.iter().chain(&self.vertices[*at].after).copied();
                let mean = self.mean(self.neighbours(*at, down).iter().copied()).or_else(|| self.mean(both));
                wanted.push((mean.unwrap_or(offset) - offset, offset));
            }
            let fitted = rising(wanted.iter().map(|(wanted, _)| *wanted));
            for ((at, (_, offset)), fitted) in row.clone().into_iter().zip(wanted).zip(fitted) {
                self.vertices[at].place = fitted + offset;
            }
        }
    }

    fn layout(mut self, boxes: usize) -> Layout {
        let edge = |vertex: &Vertex, side: f64| vertex.place + side * vertex.size.along / 2.0;
        let least = self.vertices.iter().map(|vertex| edge(vertex, -1.0)).fold(f64::INFINITY, f64::min);
        let most = self.vertices.iter().map(|vertex| edge(vertex, 1.0)).fold(f64::NEG_INFINITY, f64::max);
        let mut across = 0.0;
        let mut middles = Vec::with_capacity(self.layers.len());
        let mut depths = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let depth = layer.iter().map(|at| self.vertices[*at].size.across).fold(0.0, f64::max);
            middles.push(across + depth / 2.0);
            depths.push(depth);
            across += depth + BETWEEN;
        }
        for vertex in &mut self.vertices {
            vertex.place -= least;
        }
        let point = |at: usize, side: f64| {
            let vertex = &self.vertices[at];
            let half = if at < boxes { vertex.size.across / 2.0 } else { depths[vertex.layer] / 2.0 };
            Point { along: vertex.place, across: middles[vertex.layer] + side * half }
        };
        let way = |vertices: &Vec<usize>| -> Vec<Point> {
            vertices.windows(2).flat_map(|pair| [point(pair[0], 1.0), point(pair[1], -1.0)]).collect()
        };
        Layout {
            boxes: (0..boxes).map(|at| point(at, 0.0)).collect(),
            edges: self.ways.iter().map(way).collect(),
            size: Size { along: (most - least).max(0.0), across: (across - BETWEEN).max(0.0) },
        }
    }
}

/// Returns the rising sequence that is nearest to the wanted one, by least squares: neighbours that fall are put at their mean.
fn rising(wanted: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut blocks: Vec<(f64, f64)> = Vec::new();
    let mut counts: Vec<usize> = Vec::new();
    for value in wanted {
        let (mut mean, mut weight, mut count) = (value, 1.0, 1);
        while let (Some((last, with)), Some(many)) = (blocks.last().copied(), counts.last().copied()) {
            if last <= mean {
                break;
            }
            mean = (mean * weight + last * with) / (weight + with);
            weight += with;
            count += many;
            blocks.pop();
            counts.pop();
        }
        blocks.push((mean, weight));
        counts.push(count);
    }
    blocks.iter().zip(counts).flat_map(|((mean, _), count)| std::iter::repeat_n(*mean, count)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOX: Size = Size { along: 100.0, across: 40.0 };

    fn layers(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
        let mut layers = vec![0; count];
        for at in 0..count {
            let needs = edges.iter().filter(|(_, to)| *to == at).map(|(from, _)| layers[*from] + 1);
            layers[at] = needs.max().unwrap_or(0);
        }
        layers
    }

    #[test]
    fn a_chain_is_a_straight_line() {
        let edges = [(0, 1), (1, 2), (2, 3)];
        let layout = lay_out(&[BOX; 4], &layers(4, &edges), &edges);
        assert!(layout.boxes.iter().all(|place| (place.along - 50.0).abs() < 0.01), "{layout:?}");
        assert!((layout.size.along - 100.0).abs() < 0.01);
    }

    #[test]
    fn an_edge_past_a_box_goes_around_it() {
        let edges = [(0, 1), (1, 2), (0, 2)];
        let layout = lay_out(&[BOX; 3], &layers(3, &edges), &edges);
        let bend = layout.edges[2][1];
        assert!((bend.along - layout.boxes[1].along).abs() >= 50.0, "{layout:?}");
    }

    #[test]
    fn the_nearest_rising_sequence_is_found() {
        assert_eq!(rising([1.0, 3.0, 2.0, 4.0].into_iter()), [1.0, 2.5, 2.5, 4.0]);
        assert_eq!(rising([3.0, 2.0, 1.0].into_iter()), [2.0; 3]);
    }

    proptest! {
        #[test]
        fn boxes_never_overlap_and_edges_lead_onward(edges in prop::collection::vec((0_usize..30, 0_usize..30), 0..60)) {
            let edges: Vec<_> = edges.into_iter().filter(|(from, to)| from < to).collect();
            let layers = layers(30, &edges);
            let layout = lay_out(&[BOX; 30], &layers, &edges);
            for a in 0..30 {
                for b in 0..a {
                    let (one, other) = (layout.boxes[a], layout.boxes[b]);
                    let apart = (one.along - other.along).abs() >= 99.99 || (one.across - other.across).abs() >= 39.99;
                    prop_assert!(apart, "{} and {}", a, b);
                }
            }
            for way in &layout.edges {
                prop_assert!(way.windows(2).all(|pair| pair[0].across <= pair[1].across));
            }
            for place in &layout.boxes {
                prop_assert!(place.along >= 49.99 && place.along <= layout.size.along - 49.99);
            }
        }
    }
}
