use super::activation;
use super::dense::{Dense, Network};
use super::lstm::{LayerParameters, Lstm};
use super::simd::{Kernel, Path, Simd};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Of the largest output.
const TOLERANCE: f64 = 1e-6;
/// Miri takes a thousand times as long.
const SIZES: &[usize] =
    if cfg!(miri) { &[1, 5, 9, 33] } else { &[1, 3, 7, 17, 31, 33, 47, 63, 65, 97, 111, 129, 159, 199] };

fn available() -> impl Iterator<Item = Path> {
    Path::ALL.into_iter().filter(|path| path.is_available())
}

fn uniform(random: &mut Pcg64, count: usize, bound: f32) -> Vec<f32> {
    (0..count).map(|_| random.random_range(-bound..bound)).collect()
}

#[track_caller]
fn assert_close(what: &str, found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0, |scale: f64, value| scale.max(value.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= TOLERANCE * scale, "{what} [{index}]: {found}, expected {expected}, scale {scale}");
    }
}

/// W x + b in f64.
fn affine(weight: &[f32], bias: &[f32], input: &[f64]) -> Vec<f64> {
    let rows = weight.chunks_exact(input.len()).zip(bias);
    let of_row = |(row, bias): (&[f32], &f32)| {
        row.iter().zip(input).map(|(weight, x)| f64::from(*weight) * x).sum::<f64>() + f64::from(*bias)
    };
    rows.map(of_row).collect()
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

struct Both<'a>(&'a [f32]);

impl Kernel for Both<'_> {
    /// tanh and logistic function
    type Output = Vec<[f32; 2]>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let of = |x: f32| {
            let (mut tanh, mut sigmoid) = ([0.0; 16], [0.0; 16]);
            simd.store(activation::tanh(simd, simd.splat(x)), &mut tanh);
            simd.store(activation::sigmoid(simd, simd.splat(x)), &mut sigmoid);
            [tanh[S::LANES - 1], sigmoid[0]]
        };
        self.0.iter().map(|x| of(*x)).collect()
    }
}

#[test]
fn activations_are_within_a_millionth_and_saturate() {
    let points = if cfg!(miri) { 20 } else { 20_000 };
    let inputs: Vec<f32> = (-points..=points).map(|step| 20.0 / points as f32 * step as f32).collect();
    for path in available() {
        for (x, [tanh, sigmoid]) in inputs.iter().zip(path.run(Both(&inputs))) {
            let exact = f64::from(*x);
            assert!((f64::from(tanh) - exact.tanh()).abs() < 1e-6, "{path:?} tanh({x}): {tanh}");
            assert!(
                (f64::from(tanh) - exact.tanh()).abs() <= 1e-6 * exact.abs(),
                "{path:?} tanh({x}): {tanh}"
            );
            let exact = 1.0 / (1.0 + (-exact).exp());
            assert!((f64::from(sigmoid) - exact).abs() < 1e-6, "{path:?} sigmoid({x}): {sigmoid}");
        }
        let far = [8.0, 1e3, f32::MAX];
        for [tanh, sigmoid] in path.run(Both(&far)) {
            assert!((tanh - 1.0).abs() < 1e-6 && (sigmoid - 1.0).abs() < 4e-4, "{path:?} {tanh} {sigmoid}");
        }
        for [tanh, sigmoid] in path.run(Both(&far.map(|x| -x))) {
            assert!((tanh + 1.0).abs() < 1e-6 && sigmoid.abs() < 4e-4, "{path:?} {tanh} {sigmoid}");
        }
        for [tanh, sigmoid] in path.run(Both(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY])) {
            assert!(tanh.is_nan() && sigmoid.is_nan(), "{path:?} {tanh} {sigmoid}");
        }
        // A product with a small coefficient underflows on the way where x is nearly denormal.
        let small = [1e-20, 1e-30, 1e-38, f32::MIN_POSITIVE, -1e-39];
        for (x, [tanh, sigmoid]) in small.iter().zip(path.run(Both(&small))) {
            assert!((tanh - x).abs() <= 1e-6 * x.abs() + 1e-42, "{path:?} tanh({x}): {tanh}");
            assert_eq!(sigmoid, 0.5, "{path:?} sigmoid({x})");
        }
    }
}

#[test]
fn networks_of_all_sizes_are_those_in_f64() {
    let mut random = Pcg64::seed_from_u64(1);
    for sizes in SIZES.windows(4).chain([&[42, 128, 128, 7][..]]) {
        let shape = |index: usize| (sizes[index], sizes[index + 1]);
        let mut parameters = Vec::new();
        for (inputs, outputs) in (0..3).map(shape) {
            let bound = 2.0 / (inputs as f32).sqrt();
            parameters
                .push((uniform(&mut random, inputs * outputs, bound), uniform(&mut random, outputs, bound)));
        }
        let input = uniform(&mut random, sizes[0], 2.0);
        let mut expected = widen(&input);
        for (index, (weight, bias)) in parameters.iter().enumerate() {
            expected = affine(weight, bias, &expected);
            if index < 2 {
                expected.iter_mut().for_each(|value| *value = value.tanh());
            }
        }
        for path in available() {
            let layers = parameters.iter().zip(sizes);
            let layers =
                layers.map(|((weight, bias), inputs)| Dense::new(path, *inputs, weight, bias)).collect();
            let mut network = Network::new(path, layers);
            assert_close(&format!("{path:?} {sizes:?}"), network.forward(&input), &expected);
        }
    }
}

/// An LSTM's parameters, and its definition in f64.
struct Reference {
    inputs: usize,
    hidden: usize,
    /// weight_ih, weight_hh, bias
    layers: Vec<[Vec<f32>; 3]>,
    head: (Vec<f32>, Vec<f32>),
    /// (hidden, cell)
    state: Vec<(Vec<f64>, Vec<f64>)>,
}

impl Reference {
    fn new(random: &mut Pcg64, [inputs, hidden, layers, outputs]: [usize; 4], bound: f32) -> Self {
        let mut layer = |index: usize| {
            let inputs = if index == 0 { inputs } else { hidden };
            [4 * hidden * inputs, 4 * hidden * hidden, 4 * hidden].map(|count| uniform(random, count, bound))
        };
        Self {
            inputs,
            hidden,
            layers: (0..layers).map(&mut layer).collect(),
            head: (uniform(random, outputs * hidden, 1.0), uniform(random, outputs, 1.0)),
            state: vec![(vec![0.0; hidden], vec![0.0; hidden]); layers],
        }
    }

    fn packed(&self, path: Path) -> Lstm {
        let layers = self.layers.iter().map(|[weight_ih, weight_hh, bias]| LayerParameters {
            weight_ih,
            weight_hh,
            bias,
        });
        let layers: Vec<_> = layers.collect();
        Lstm::new(path, self.hidden, &layers, Dense::new(path, self.hidden, &self.head.0, &self.head.1))
    }

    fn step(&mut self, input: &[f32]) -> Vec<f64> {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut below = widen(input);
        for ([weight_ih, weight_hh, bias], (hidden, cell)) in self.layers.iter().zip(&mut self.state) {
            let recurrent = affine(weight_hh, bias, hidden);
            let gates: Vec<f64> = affine(weight_ih, &vec![0.0; bias.len()], &below);
            let gates: Vec<f64> = gates.iter().zip(recurrent).map(|(a, b)| a + b).collect();
            let units = cell.len();
            for k in 0..units {
                let [i, f, g, o] = [0, 1, 2, 3].map(|gate| gates[gate * units + k]);
                cell[k] = sigmoid(f) * cell[k] + sigmoid(i) * g.tanh();
                hidden[k] = sigmoid(o) * cell[k].tanh();
            }
            below.clone_from(hidden);
        }
        affine(&self.head.0, &self.head.1, &below)
    }

    /// Runs both over `inputs`.
    fn compare(&mut self, inputs: &[Vec<f32>]) {
        for (hidden, cell) in &mut self.state {
            hidden.fill(0.0);
            cell.fill(0.0);
        }
        let expected: Vec<Vec<f64>> = inputs.iter().map(|input| self.step(input)).collect();
        for path in available() {
            let lstm = self.packed(path);
            let mut stream = lstm.stream();
            let mut output = vec![0.0; self.head.1.len()];
            for _ in 0..2 {
                stream.reset();
                for (time, (input, expected)) in inputs.iter().zip(&expected).enumerate() {
                    lstm.advance(&mut stream, input);
                    lstm.read_out(&stream, &mut output);
                    let what =
                        format!("{path:?}, {} inputs, {} units, step {time}", self.inputs, self.hidden);
                    assert_close(&what, &output, expected);
                }
            }
        }
    }
}

#[test]
fn lstms_of_all_sizes_are_those_in_f64() {
    let mut random = Pcg64::seed_from_u64(2);
    for (index, [inputs, hidden, outputs]) in SIZES.array_windows().enumerate() {
        let bound = 1.0 / (*hidden as f32).sqrt();
        let mut reference = Reference::new(&mut random, [*inputs, *hidden, 1 + index % 3, *outputs], bound);
        let sequence: Vec<Vec<f32>> = (0..6).map(|_| uniform(&mut random, *inputs, 2.0)).collect();
        reference.compare(&sequence);
    }
}

#[test]
fn saturated_gates_and_denormal_inputs_are_those_in_f64() {
    let mut random = Pcg64::seed_from_u64(3);
    let mut reference = Reference::new(&mut random, [9, 21, 2, 5], 1.0);
    let huge: Vec<Vec<f32>> = (0..6).map(|k| uniform(&mut random, 9, 10f32.powi(2 + 2 * k))).collect();
    reference.compare(&huge);
    let denormal: Vec<Vec<f32>> = (0..6).map(|_| uniform(&mut random, 9, 1e-39)).collect();
    reference.compare(&denormal);
    reference.layers.iter_mut().flatten().flatten().for_each(|weight| *weight *= 1e-38);
    reference.compare(&denormal);
}

#[test]
fn preparing_changes_nothing_but_the_time() {
    let mut random = Pcg64::seed_from_u64(4);
    let reference = Reference::new(&mut random, [5, 37, 2, 11], 0.5);
    for path in available() {
        let lstm = reference.packed(path);
        let (mut plain, mut prepared) = (lstm.stream(), lstm.stream());
        let (mut expected, mut found) = ([0.0; 11], [0.0; 11]);
        for step in 0..20 {
            let input = uniform(&mut random, 5, 1.0);
            lstm.advance(&mut plain, &input);
            lstm.read_out(&plain, &mut expected);
            if step % 3 > 0 {
                (0..step % 3).for_each(|_| lstm.prepare(&mut prepared));
            }
            lstm.advance(&mut prepared, &input);
            lstm.read_out(&prepared, &mut found);
            assert_eq!(found, expected, "{path:?}");
            if step == 10 {
                lstm.prepare(&mut prepared);
                plain.reset();
                prepared.reset();
            }
        }
    }
}

#[test]
fn what_is_not_a_number_comes_out_as_such() {
    let mut random = Pcg64::seed_from_u64(5);
    let reference = Reference::new(&mut random, [3, 20, 2, 6], 0.5);
    for path in available() {
        let lstm = reference.packed(path);
        let mut stream = lstm.stream();
        let mut output = [0.0; 6];
        lstm.advance(&mut stream, &[0.1, f32::NAN, 0.2]);
        lstm.read_out(&stream, &mut output);
        assert!(output.iter().all(|value| value.is_nan()), "{path:?} {output:?}");
        stream.reset();
        lstm.advance(&mut stream, &[0.1, 0.3, 0.2]);
        lstm.read_out(&stream, &mut output);
        assert!(output.iter().all(|value| value.is_finite()), "{path:?} {output:?}");
    }
}

#[test]
fn vectors_that_the_processor_lacks_are_replaced() {
    for path in Path::ALL {
        let mut network =
            Network::new(path, vec![Dense::new(path, 2, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[0.5; 3])]);
        assert_eq!(network.forward(&[1.0, -1.0]), [-0.5; 3], "{path:?}");
    }
}
