//! Hostile model files, on the whole way from bytes to a prediction or an effort: whatever is read, nothing panics, what
//! is allocated is bounded by the size of the file, and a model that is accepted gives finite numbers.
//!
//! The corpus in `tests/corpus/model` says by its names what becomes of each file. After a change of the format
//! `cargo test --test fuzz_model -- --ignored` writes it anew.

use candle_core::{Device, Tensor};
use learned_control::base::{
    BaseControllerConfig, TwistCorrection, TwistFormat, TwistHead, TwistHeadConfig, TwistModel, WantedTwist,
};
use learned_control::controller::{Residual, ResidualModel};
use learned_control::nn::checkpoint::{Card, DataFile, JointRange, ModelKind, Tensors, from_bytes, to_bytes};
use learned_control::nn::mlp::MlpConfig;
use learned_control::predictor::command_reader::CommandReader;
use learned_control::predictor::commands::{CommandConfig, Quantity};
use learned_control::predictor::linear::{LinearPath, knots, ridges};
use learned_control::predictor::ridge::{INPUTS, Ridge};
use learned_control::predictor::{LstmPredictor, Predictor, PredictorConfig, PredictorModel};
use learned_control::reference::ReferencePoint;
use learned_control::robot::Robot;
use learned_control::state::{Space, Stamp, State};
use learned_control::trajectory::Trajectory;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{FileFailurePersistence, TestRunner};
use serde_json::{Value, json};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

// --- memory ---

/// Counts the bytes that this thread holds, and the most that it held.
struct Counting;

thread_local! {
    static HELD: Cell<i64> = const { Cell::new(0) };
    static MOST: Cell<i64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.with(Cell::get) + layout.size() as i64;
        HELD.with(|cell| cell.set(held));
        MOST.with(|cell| cell.set(cell.get().max(held)));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.with(|cell| cell.set(cell.get() - layout.size() as i64));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that `work` held beyond those at its start.
fn most_held<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.with(Cell::get);
    MOST.with(|cell| cell.set(before));
    let result = work();
    (result, (MOST.with(Cell::get) - before) as usize)
}

/// What reading and running a file of so many bytes may hold: copies of its numbers, and the JSON of a header of at
/// most a megabyte as a tree.
fn allowance(bytes: usize) -> usize {
    12 * bytes + (32 << 20)
}

// --- the way of a model ---

/// Reads and runs a model: the reason if it is refused. Panics when an accepted one gives what is no number.
fn run(bytes: &[u8]) -> Result<(), String> {
    let text = |error: learned_control::Error| error.to_string();
    let (outcome, held) = most_held(|| {
        let (card, tensors) = from_bytes(bytes, "x").map_err(text)?;
        let robot = Robot { space: card.space, ..Robot::of_joints(&card.joints) };
        card.check(card.kind, &robot, Some(card.dt)).map_err(text)?;
        match card.kind {
            ModelKind::Predictor => predict(&card, tensors),
            ModelKind::Controller => evaluate(card, &tensors, &robot),
            ModelKind::BaseController => correct(card, &tensors),
        }
        .map_err(text)
    });
    assert!(held <= allowance(bytes.len()), "{held} bytes held for a file of {}", bytes.len());
    outcome
}

fn predict(card: &Card, tensors: Tensors) -> learned_control::Result<()> {
    let model = PredictorModel::from_checkpoint(card, tensors, "x")?;
    let mut predictor = LstmPredictor::new(&model)?;
    let mut prediction = Trajectory::new(predictor.horizon(), card.joints.len());
    let mut state = State::zeros(card.joints.len());
    let reader = predictor.commands().map(|config| {
        let robot = Robot { space: card.space, ..Robot::of_joints(&card.joints) };
        CommandReader::new(&robot, config.clone())
    });
    for step in 0..60 {
        if let Some(reader) = reader.as_ref().filter(|_| step % 7 == 2) {
            let values: Vec<f64> = (0..card.joints.len()).map(|k| step as f64 - k as f64).collect();
            reader.values(&values).into_iter().for_each(|told| predictor.hear(Arc::new(told)));
        }
        // Small steps, a large one, and one that is absurd.
        let size = [0.01, 0.01, 0.01, 0.1, 0.1, 1.0, 1e3, 1.0][step % 8];
        state.stamp = Stamp::from_seconds(step as f64 * card.dt);
        state.position.iter_mut().enumerate().for_each(|(k, q)| *q += size * (k as f64 - 0.5));
        state.velocity.iter_mut().enumerate().for_each(|(k, v)| *v = size * (k as f64 + 0.3));
        predictor.observe(&state);
        assert!(predictor.predict(&mut prediction), "no prediction");
        let values = prediction.states.iter().flat_map(|state| state.position.iter().chain(&state.velocity));
        assert!(values.copied().all(f64::is_finite), "a prediction is not finite");
        let spread = prediction.stddev.iter().flatten();
        assert!(
            spread.copied().all(|stddev| stddev.is_finite() && stddev > 0.0),
            "a spread is not above zero"
        );
    }
    Ok(())
}

fn correct(card: Card, tensors: &Tensors) -> learned_control::Result<()> {
    let model = TwistModel::from_tensors(card, tensors, "x")?;
    let mut head = base_head();
    head.restore(&model);
    let mut correction = [0.0; 3];
    for size in [0.0, 0.1, 1.0, 1000.0] {
        let wanted = WantedTwist { velocity: [size, -size, size], ..Default::default() };
        head.correct(&|_| wanted, &mut correction);
        assert!(correction.iter().all(|value| value.is_finite()), "a twist is not finite");
        let state = State { velocity: vec![size; 3], ..State::zeros(3) };
        (0..40).for_each(|_| head.observe(&state, &[size; 3], 0.02, true, None));
    }
    Ok(())
}

fn evaluate(card: Card, tensors: &Tensors, robot: &Robot) -> learned_control::Result<()> {
    let joints = robot.degrees_of_freedom();
    let model = ResidualModel::from_checkpoint(card, tensors, "x", robot)?;
    let mut residual = Residual::new(vec![1.0; joints], 0.0);
    residual.accept(Box::new(model));
    residual.advance(0.002);
    let mut effort = vec![0.0; joints];
    for size in [0.0, 0.1, 1.0, 1000.0] {
        let alternating =
            |sign: f64| (0..joints).map(|k| size * sign * (1.0 - 2.0 * (k % 2) as f64)).collect();
        let reference = ReferencePoint {
            position: alternating(1.0),
            velocity: alternating(-1.0),
            acceleration: alternating(1.0),
        };
        residual.evaluate(&reference, &mut effort);
        assert!(effort.iter().all(|effort| effort.is_finite()), "an effort is not finite");
    }
    Ok(())
}

// --- sound models to start from ---

fn joints() -> [String; 2] {
    ["slide".to_owned(), "turn".to_owned()]
}

fn predictor(joints: &[String], config: PredictorConfig) -> (Card, Tensors) {
    let acceleration = vec![1.0; joints.len()];
    let mut model = PredictorModel::untrained(joints, 0.01, config, &acceleration).unwrap();
    let mut linear = LinearPath::blank(&model.config, joints.len(), model.dt);
    linear.ridges = ridges(joints.len()).map(|inputs| {
        let width = inputs?.width(joints.len());
        let weights = joints.len() * knots(model.config.steps).len() * (width * INPUTS + 1);
        let limits = vec![[-1.0, 1.0]; joints.len() * INPUTS];
        Some(Ridge { width, weights: vec![0.01; weights], limits })
    });
    model.linear = Some(linear);
    let (mut card, mut tensors) = model.to_checkpoint(BTreeMap::from([("error".into(), 0.5)]), "").unwrap();
    card.ranges = vec![JointRange { position: (-1.0, 1.0), velocity: (-2.0, 2.0) }; joints.len()];
    card.data = vec![DataFile { name: "motion.csv".into(), sha256: "0".repeat(64) }];
    // The head of an untrained network is zero.
    let head = tensors["head.weight"].dims().to_vec();
    tensors.insert("head.weight".into(), filled(&head, 0.3));
    (card, tensors)
}

fn small_predictor() -> (Card, Tensors) {
    predictor(
        &joints(),
        PredictorConfig { steps: 3, hidden: 4, layers: 2, blocks: vec![1, 2], ..Default::default() },
    )
}

/// One that knows commanded velocities.
fn told_predictor() -> (Card, Tensors) {
    let commands = Some(CommandConfig::new(&joints(), vec![Quantity::Velocity]));
    predictor(
        &joints(),
        PredictorConfig { steps: 3, hidden: 4, blocks: vec![1, 2], commands, ..Default::default() },
    )
}

fn base_predictor() -> (Card, Tensors) {
    let config = PredictorConfig {
        steps: 4,
        hidden: 3,
        blocks: vec![1],
        space: Space::PlanarBase,
        ..Default::default()
    };
    predictor(&["x", "y", "yaw"].map(str::to_owned), config)
}

fn controller() -> (Card, Tensors) {
    let network = MlpConfig { inputs: 8, hidden: vec![5], outputs: 2 };
    let card = Card::new(ModelKind::Controller, &Robot::of_joints(&joints()), 0.002, &network).unwrap();
    let tensors = Tensors::from([
        ("layers.0.weight".into(), filled(&[5, 8], 1.0)),
        ("layers.0.bias".into(), filled(&[5], 1.0)),
        ("layers.1.weight".into(), filled(&[2, 5], 1.0)),
        ("layers.1.bias".into(), filled(&[2], 1.0)),
        ("output_scale".into(), Tensor::new(&[10f32, 5.0], &Device::Cpu).unwrap()),
    ]);
    (card, tensors)
}

fn filled(shape: &[usize], scale: f32) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|k| scale * (k as f32 + 1.0).sin()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn bytes((card, tensors): &(Card, Tensors)) -> Vec<u8> {
    to_bytes(card, tensors).unwrap()
}

fn format() -> TwistFormat {
    TwistFormat::of(&BaseControllerConfig::default())
}

fn base_head() -> TwistHead {
    TwistHead::new(TwistHeadConfig::default(), format())
}

fn base_controller() -> (Card, Tensors) {
    let model = base_head().model().unwrap().unwrap().to_bytes().unwrap();
    let (card, mut tensors) = from_bytes(&model, "x").unwrap();
    let weights = tensors["weights"].dims().to_vec();
    tensors.insert("weights".into(), filled(&weights, 0.3));
    (card, tensors)
}

// --- the parts of a file ---

/// Header and data of a file that may be anything; `None` when there is no JSON header.
fn split(bytes: &[u8]) -> Option<(Value, Vec<u8>)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (header, data) = rest.split_at_checked(u64::from_le_bytes(*length).try_into().ok()?)?;
    Some((serde_json::from_slice(header).ok()?, data.to_vec()))
}

fn join(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// Changes the header of a file.
fn with_header(bytes: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let Some((mut header, data)) = split(bytes) else { return bytes.to_vec() };
    change(&mut header);
    join(&header.to_string(), &data)
}

/// Changes the card of a file.
fn with_card(bytes: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    with_header(bytes, |header| {
        let Some(place) = header.pointer_mut("/__metadata__/learned_control") else { return };
        let Some(mut card) = place.as_str().and_then(|text| serde_json::from_str(text).ok()) else { return };
        change(&mut card);
        *place = card.to_string().into();
    })
}

/// Puts `text` at the beginning of the header's outermost object.
fn with_entry(bytes: &[u8], text: &str) -> Vec<u8> {
    let Some((header, data)) = split(bytes) else { return bytes.to_vec() };
    join(&header.to_string().replacen('{', &format!("{{{text},"), 1), &data)
}

/// Changes one tensor of a sound model.
fn with_tensor(mut model: (Card, Tensors), name: &str, tensor: Tensor) -> Vec<u8> {
    model.1.insert(name.into(), tensor).expect("a tensor of the model");
    bytes(&model)
}

// --- the corpus ---

fn corpus() -> Vec<(String, Vec<u8>)> {
    let (predictor, controller) = (bytes(&small_predictor()), bytes(&controller()));
    let first = |header: &Value| header["head.bias"].clone();
    let (header, _) = split(&predictor).unwrap();
    let twice = format!("\"head.bias\":{}", first(&header));
    let deep = format!("\"w\":{}{}", "[".repeat(1000), "]".repeat(1000));
    let many: Vec<String> = (0..1100)
        .map(|k| format!("\"{k}\":{{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,0]}}"))
        .collect();
    let network =
        |key: &'static str, value: Value| with_card(&predictor, move |card| card["network"][key] = value);
    let scale = Tensor::new(&[[0f32; 10], [1., 1., 1., 1., 1., -1., 1., 1., 1., 1.]], &Device::Cpu).unwrap();
    let subnormal = Tensor::new(&[[1f32, 1.0, 1.0], [1.0, 1e-40, 1.0]], &Device::Cpu).unwrap();
    let mut nan = predictor.clone();
    let end = nan.len() - 4;
    nan[end..].copy_from_slice(&f32::NAN.to_le_bytes());
    let mut long = predictor.clone();
    long[..8].copy_from_slice(&(u64::MAX / 2).to_le_bytes());
    let files = [
        ("accepted-predictor", predictor.clone()),
        ("accepted-base-predictor", bytes(&base_predictor())),
        ("accepted-told-predictor", bytes(&told_predictor())),
        ("accepted-controller", controller.clone()),
        ("accepted-base-controller", bytes(&base_controller())),
        (
            "refused-base-controller-no-variances",
            with_tensor(base_controller(), "covariance", filled(&[3, 25, 25], 1.0)),
        ),
        ("refused-empty", vec![]),
        ("refused-truncated", predictor[..predictor.len() - 1].to_vec()),
        ("refused-header-too-long", long),
        ("refused-name-twice", with_entry(&predictor, &twice)),
        ("refused-nested-1000-deep", with_entry(&predictor, &deep)),
        ("refused-1100-tensors", with_entry(&predictor, &many.join(","))),
        (
            "refused-2-to-the-60-numbers",
            with_header(&predictor, |header| {
                header["head.bias"]["shape"] = json!([1u64 << 60]);
                header["head.bias"]["data_offsets"] = json!([0, 1u64 << 62]);
            }),
        ),
        (
            "refused-overlapping",
            with_header(&predictor, |header| {
                header["head.bias"]["data_offsets"] = header["head.weight"]["data_offsets"].clone();
            }),
        ),
        (
            "refused-float64",
            with_header(&controller, |header| {
                header["layers.0.weight"]["dtype"] = "F64".into();
                header["layers.0.weight"]["shape"] = json!([5, 4]);
            }),
        ),
        ("refused-not-a-number", nan),
        ("refused-hidden-1e9", network("hidden", json!(1_000_000_000))),
        ("refused-layers-1e9", network("layers", json!(1_000_000_000))),
        ("refused-steps-1e9", network("steps", json!(1_000_000_000))),
        ("refused-block-1e9", network("blocks", json!([1, 1_000_000_000]))),
        ("refused-1000-blocks", network("blocks", (1..=1000).collect())),
        ("refused-lag-1e9", network("lags", (0..19).chain([1_000_000_000]).collect())),
        ("refused-lags-that-fall", network("lags", (0..20).rev().collect())),
        ("refused-3-lags", network("lags", json!([0, 1, 2]))),
        ("refused-other-space", with_card(&predictor, |card| card["space"] = "planar_base".into())),
        (
            "refused-linear-path-without-covariance",
            with_tensor(small_predictor(), "linear.own.factor", filled(&[2, 5, 5], 0.0)),
        ),
        (
            "refused-commands-without-covariance",
            with_tensor(told_predictor(), "linear.commanded.factor", filled(&[2, 8, 8], 0.0)),
        ),
        (
            "refused-controller-hidden-1e9",
            with_card(&controller, |card| {
                card["network"]["hidden"] = json!([1_000_000_000, 1_000_000_000]);
            }),
        ),
        ("refused-dt-1e-300", with_card(&predictor, |card| card["dt"] = json!(1e-300))),
        ("refused-dt-1e300", with_card(&predictor, |card| card["dt"] = json!(1e300))),
        ("refused-old-format", with_card(&predictor, |card| card["format"] = json!(1))),
        ("refused-other-kind", with_card(&predictor, |card| card["kind"] = "controller".into())),
        ("refused-negative-scale", with_tensor(small_predictor(), "features", scale)),
        ("refused-subnormal-spread", with_tensor(small_predictor(), "spread", subnormal)),
        (
            "refused-overflowing-lstm",
            with_tensor(small_predictor(), "lstm.weight_hh_l1", filled(&[16, 4], 3e38)),
        ),
        (
            "refused-overflowing-controller",
            with_tensor(self::controller(), "layers.0.weight", filled(&[5, 8], 1e36)),
        ),
        (
            "refused-negative-output-scale",
            with_tensor(
                self::controller(),
                "output_scale",
                Tensor::new(&[10f32, -5.0], &Device::Cpu).unwrap(),
            ),
        ),
    ];
    files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/model")
}

#[test]
#[ignore = "writes tests/corpus/model"]
fn write_the_corpus() {
    for (name, bytes) in corpus() {
        std::fs::write(folder().join(format!("{name}.safetensors")), bytes).unwrap();
    }
}

#[test]
fn the_corpus_is_accepted_and_refused_as_it_says() {
    let mut files = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let outcome = run(&std::fs::read(&path).unwrap());
        println!("{name}: {}", outcome.as_ref().err().map_or("accepted", String::as_str));
        assert_eq!(outcome.is_ok(), name.starts_with("accepted-"), "{name}: {outcome:?}");
        files += 1;
    }
    assert!(files >= corpus().len(), "{files} files: write the corpus anew");
}

#[test]
fn the_kept_models_are_those_of_this_program() {
    for (name, bytes) in corpus().iter().filter(|(name, _)| name.starts_with("accepted-")) {
        let kept = std::fs::read(folder().join(format!("{name}.safetensors"))).unwrap();
        let (kept, written) = (from_bytes(&kept, "x").unwrap(), from_bytes(bytes, "x").unwrap());
        assert_eq!(kept.0.network, written.0.network, "{name}: write the corpus anew");
        assert!(kept.1.keys().eq(written.1.keys()), "{name}: write the corpus anew");
    }
}

// --- memory of large files ---

#[test]
fn what_is_allocated_is_bounded_by_the_size_of_the_file() {
    let (sound, held) = most_held(|| vec![0u8; 1 << 20].len());
    assert_eq!((sound, held), (1 << 20, 1 << 20), "the count does not count");

    let names: Vec<String> = (0..256).map(|k| format!("joint{k}")).collect();
    let wide = |joints: usize, steps: usize, blocks: usize| {
        let blocks = (1..=blocks).collect();
        bytes(&predictor(
            &names[..joints],
            PredictorConfig { steps, hidden: 4, blocks, ..Default::default() },
        ))
    };
    for (joints, steps, blocks) in [(7, 50, 9), (256, 50, 9), (1, 1000, 159), (10, 150, 150), (256, 70, 0)] {
        assert_eq!(run(&wide(joints, steps, blocks)), Ok(()), "{joints} x {steps}, {blocks} blocks");
    }
    let large =
        bytes(&predictor(&joints(), PredictorConfig { hidden: 512, layers: 2, ..Default::default() }));
    assert_eq!(run(&large), Ok(()));
    // A header of nearly a megabyte that is all tree, and one that is all text.
    let zeros = |count: usize| Value::Array(vec![json!(0); count]);
    let sound = bytes(&small_predictor());
    for bytes in [
        with_card(&sound, |card| card["network"] = zeros(450_000)),
        with_card(&sound, |card| card["ranges"] = zeros(450_000)),
        with_card(&sound, |card| card["joints"] = json!(vec!["a"; 100_000])),
        with_card(&sound, |card| card["note"] = "x".repeat(900_000).into()),
        with_header(&sound, |header| header["head.bias"]["shape"] = zeros(450_000)),
        with_header(&sound, |header| header["__metadata__"]["more"] = "x".repeat(900_000).into()),
        with_header(&sound, |header| header["__metadata__"]["more"] = zeros(450_000)),
    ] {
        println!("{:?}", run(&bytes).map_err(|reason| reason.chars().take(120).collect::<String>()));
    }
}

// --- mutations ---

/// Ten seconds of them.
const CASES: u32 = 100_000;

/// One way to change a file. Places are given as shares, for what is changed may have any size.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(Index, u8),
    Truncate(Index),
    Append(Vec<u8>),
    HeaderLength(u64),
    /// Replaces some value within the header, or within the card.
    Header(Index, Value),
    Card(Index, Value),
    /// Repeats one entry of the header.
    Repeat(Index),
    /// Removes one entry of the header.
    Remove(Index),
    /// Replaces one number of the data.
    Number(Index, f32),
    /// Replaces all numbers from one place on.
    Numbers(Index, f32),
}

fn value() -> impl Strategy<Value = Value> {
    let numbers = [0u64, 1, 2, 3, 4, 5, 1000, 1001, 4096, 1 << 31, 1 << 32, 1 << 60, u64::MAX];
    prop_oneof![
        proptest::sample::select(numbers.to_vec()).prop_map(Value::from),
        proptest::sample::select(vec![-1.0, 0.5, 1e-300, 1e300, -0.0, 1e-7]).prop_map(Value::from),
        proptest::sample::select(vec![
            "",
            "F64",
            "F32",
            "BF16",
            "joints",
            "planar_base",
            "controller",
            "\u{1b}"
        ])
        .prop_map(Value::from),
        Just(Value::Null),
        Just(json!(true)),
        Just(json!([])),
        Just(json!({})),
        Just(json!([0, 0])),
        Just(json!([1, 1, 1, 1, 1])),
        Just(json!(["a", "a"])),
        (1..200_usize).prop_map(|depth| (0..depth).fold(json!(0), |inner, _| json!([inner]))),
    ]
}

fn number() -> impl Strategy<Value = f32> {
    let special = vec![
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        1e-40,
        -1e-40,
        0.0,
        -0.0,
        -1.0,
        1e30,
        -1e30,
        1e37,
        -1e37,
    ];
    prop_oneof![proptest::sample::select(special), any::<f32>()]
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        1 => (any::<Index>(), 1..=u8::MAX).prop_map(|(place, bits)| Mutation::Flip(place, bits)),
        1 => any::<Index>().prop_map(Mutation::Truncate),
        1 => proptest::collection::vec(any::<u8>(), 1..9).prop_map(Mutation::Append),
        1 => prop_oneof![0..4096u64, any::<u64>()].prop_map(Mutation::HeaderLength),
        3 => (any::<Index>(), value()).prop_map(|(place, value)| Mutation::Header(place, value)),
        5 => (any::<Index>(), value()).prop_map(|(place, value)| Mutation::Card(place, value)),
        1 => any::<Index>().prop_map(Mutation::Repeat),
        1 => any::<Index>().prop_map(Mutation::Remove),
        5 => (any::<Index>(), number()).prop_map(|(place, number)| Mutation::Number(place, number)),
        3 => (any::<Index>(), number()).prop_map(|(place, number)| Mutation::Numbers(place, number)),
    ]
}

impl Mutation {
    fn apply(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Flip(place, bits) if !bytes.is_empty() => {
                let place = place.index(bytes.len());
                bytes[place] ^= bits;
            }
            Self::Truncate(place) => bytes.truncate(place.index(bytes.len() + 1)),
            Self::Append(more) => bytes.extend(more),
            Self::HeaderLength(length) if bytes.len() >= 8 => {
                bytes[..8].copy_from_slice(&length.to_le_bytes())
            }
            Self::Header(place, value) => return with_header(&bytes, |header| replace(header, place, value)),
            Self::Card(place, value) => return with_card(&bytes, |card| replace(card, place, value)),
            Self::Repeat(place) => {
                let entries = entries(&bytes);
                if !entries.is_empty() {
                    let (name, entry) = &entries[place.index(entries.len())];
                    return with_entry(&bytes, &format!("{}:{entry}", Value::from(name.as_str())));
                }
            }
            Self::Remove(place) => {
                let entries = entries(&bytes);
                if !entries.is_empty() {
                    let name = &entries[place.index(entries.len())].0;
                    return with_header(&bytes, |header| drop(header.as_object_mut().unwrap().remove(name)));
                }
            }
            Self::Number(place, number) => fill_numbers(&mut bytes, place, 1, *number),
            Self::Numbers(place, number) => fill_numbers(&mut bytes, place, usize::MAX, *number),
            Self::Flip(..) | Self::HeaderLength(_) => {}
        }
        bytes
    }
}

fn entries(bytes: &[u8]) -> Vec<(String, Value)> {
    match split(bytes) {
        Some((Value::Object(entries), _)) => entries.into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Puts `value` in the place of one that is chosen among all in the tree.
fn replace(tree: &mut Value, place: &Index, value: &Value) {
    fn count(tree: &Value) -> usize {
        1 + match tree {
            Value::Array(items) => items.iter().map(count).sum(),
            Value::Object(entries) => entries.values().map(count).sum(),
            _ => 0,
        }
    }
    fn at(tree: &mut Value, index: usize) -> &mut Value {
        if index == 0 {
            return tree;
        }
        let mut left = index - 1;
        let children: Box<dyn Iterator<Item = &mut Value>> = match tree {
            Value::Array(items) => Box::new(items.iter_mut()),
            Value::Object(entries) => Box::new(entries.iter_mut().map(|(_, value)| value)),
            _ => unreachable!("a leaf has no children"),
        };
        for child in children {
            let size = count(child);
            if left < size {
                return at(child, left);
            }
            left -= size;
        }
        unreachable!("the index is within the tree")
    }
    let index = place.index(count(tree));
    *at(tree, index) = value.clone();
}

/// Overwrites numbers of the data, from a place on.
fn fill_numbers(bytes: &mut [u8], place: &Index, count: usize, number: f32) {
    let Some((_, data)) = split(bytes) else { return };
    let begin = bytes.len() - data.len();
    let numbers = data.len() / 4;
    if numbers > 0 {
        let (chunks, _) = bytes[begin..].as_chunks_mut::<4>();
        chunks[place.index(numbers)..].iter_mut().take(count).for_each(|chunk| *chunk = number.to_le_bytes());
    }
}

#[test]
fn no_mutation_of_a_model_does_harm() {
    let kept = |name: &str| std::fs::read(folder().join(format!("{name}.safetensors"))).unwrap();
    let sound = ["predictor", "base-predictor", "told-predictor", "controller", "base-controller"]
        .map(|name| kept(&format!("accepted-{name}")));
    let regressions = FileFailurePersistence::Direct("tests/corpus/model.proptest-regressions");
    let config = ProptestConfig {
        failure_persistence: Some(Box::new(regressions)),
        ..ProptestConfig::with_cases(CASES)
    };
    let cases = (0..sound.len(), proptest::collection::vec(mutation(), 1..4));
    let accepted = Cell::new(0);
    let outcome = TestRunner::new(config).run(&cases, |(which, mutations)| {
        let bytes = mutations.iter().fold(sound[which].clone(), |bytes, mutation| mutation.apply(bytes));
        accepted.set(accepted.get() + u32::from(run(&bytes).is_ok()));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    println!("{} of {CASES} were accepted", accepted.get());
    assert!(accepted.get() > CASES / 20, "hardly a mutation gets as far as a prediction");
}
