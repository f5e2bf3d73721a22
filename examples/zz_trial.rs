use learned_control::closed_loop::ClosedLoop;
use learned_control::control_loop::ControllerConfig;
use learned_control::controller::*;
use learned_control::sim::*;
use learned_control::*;
fn main() {
    let urdf = std::fs::read_to_string("urdf/arm.urdf").unwrap();
    let base: ControllerConfig =
        config::read_file(std::path::Path::new("config/arm.yaml"), "controller").unwrap();
    let delay: f64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let noise: f64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let payload: f64 = std::env::args().nth(3).unwrap().parse().unwrap();
    let c = ControllerConfig {
        feedforward: Feedforward::InverseDynamics,
        head: HeadConfig { enabled: true, ..base.head },
        prediction: false,
        ..base
    };
    let arm = ArmConfig { initial_position: vec![0.0, 0.4, 0.0, -1.4, 0.0, 1.0, 0.0], ..Default::default() };
    let s = Scenario {
        payload,
        delay: std::time::Duration::from_secs_f64(delay),
        position_noise: 1e-5 * noise,
        velocity_noise: 1e-3 * noise,
        ..Default::default()
    };
    let mut run = ClosedLoop::new(&urdf, arm, s, c, None).unwrap();
    for k in 0..20 {
        let r = run.rms_by_second(1).unwrap();
        println!("{k} {:.4} delay {:.3} ms", 1e3 * r[0], 0.0);
    }
}
