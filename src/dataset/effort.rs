//! Motion with the efforts that caused it, at equal steps.

use super::{Recording, data};
use crate::error::Result;
use crate::state::State;

/// Samples at equal steps with the effort at each, with no gap between them.
#[derive(Clone, Debug, PartialEq)]
pub struct EffortEpisode {
    /// s
    pub dt: f64,
    pub states: Vec<State>,
    /// [time][joint], Nm or N, or whatever the robot's driver publishes as effort.
    pub efforts: Vec<Vec<f64>>,
}

impl Recording {
    /// As [`Recording::episodes`], with efforts, which are interpolated just as positions are. Measurements that lack the effort of a
    /// joint are left out. An error if the recording has none of some joint at all.
    pub fn effort_episodes(&self, dt: f64) -> Result<Vec<EffortEpisode>> {
        let Some(efforts) = &self.efforts else {
            let problem =
                "it has no efforts; expected JointState.effort or columns <joint>_eff, tau1, tau_motor1";
            return Err(data(&self.origin, problem));
        };
        let lacks = |joint: usize| efforts.iter().filter(|effort| !effort[joint].is_finite()).count();
        let lacking: Vec<usize> = (0..self.joints.len()).map(lacks).collect();
        let is_without = |joint: &usize| lacking[*joint] == efforts.len();
        let (without, with): (Vec<usize>, Vec<usize>) = (0..self.joints.len()).partition(is_without);
        if !without.is_empty() {
            let [without, with] = [without, with].map(|joints| {
                joints.iter().map(|joint| self.joints[*joint].as_str()).collect::<Vec<_>>().join(",")
            });
            let problem =
                format!("no measurement has an effort of {without}; choose the others with --joints {with}");
            return Err(data(&self.origin, problem));
        }
        // Efforts ride along as further joints, so that one resampler serves both.
        let joints = self.joints.len();
        let is_whole = |effort: &[f64]| effort.iter().all(|effort| effort.is_finite());
        let with_effort = self.states.iter().zip(efforts).filter(|(_, effort)| is_whole(effort));
        let states = with_effort.map(|(state, effort)| State {
            stamp: state.stamp,
            position: [&state.position[..], effort].concat(),
            velocity: [&state.velocity[..], &vec![0.0; joints]].concat(),
        });
        let widened = Self {
            joints: self.joints.iter().chain(&self.joints).cloned().collect(),
            origin: self.origin.clone(),
            space: self.space,
            states: states.collect(),
            efforts: None,
            commands: None,
            summary: self.summary.clone(),
        };
        let episodes = widened.episodes(dt)?.into_iter().map(|episode| {
            let split = |mut state: State| {
                let effort = state.position.split_off(joints);
                state.velocity.truncate(joints);
                (state, effort)
            };
            let (states, efforts) = episode.states.into_iter().map(split).unzip();
            EffortEpisode { dt, states, efforts }
        });
        Ok(episodes.collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::dataset::cleaning::assemble;
    use crate::dataset::tests::data_folder;
    use crate::dataset::{Recording, Row, Selection, Summary};
    use crate::state::{Space, Stamp};
    use std::path::Path;

    fn recording(efforts: &[Vec<f64>]) -> Recording {
        let row = |(step, effort): (usize, &Vec<f64>)| Row {
            header: Stamp(10_000_000 * step as i64),
            log: None,
            position: vec![step as f64, -(step as f64)],
            velocity: vec![100.0, -100.0],
            effort: effort.clone(),
            command: vec![],
        };
        let rows = efforts.iter().enumerate().map(row).collect();
        let names = vec!["a".into(), "b".into()];
        assemble(Path::new("x"), names, Space::Joints, rows, Summary::default()).unwrap().0
    }

    #[test]
    fn efforts_keep_their_joint_and_time() {
        let recording = recording(&[vec![1.0, 10.0], vec![3.0, 30.0], vec![5.0, f64::NAN], vec![7.0, 70.0]]);
        let episodes = recording.effort_episodes(0.005).unwrap();
        assert_eq!(episodes.len(), 1);
        // The third measurement has no effort for b: 30 ms are reached from 10 ms by a straight line.
        let efforts: Vec<f64> = episodes[0].efforts.iter().map(|effort| effort[1]).collect();
        assert_eq!(efforts, [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0]);
        assert_eq!(episodes[0].states[1].position, [0.5, -0.5]);
        assert_eq!(episodes[0].states[1].velocity, [100.0, -100.0]);
    }

    #[test]
    fn a_recording_without_efforts_says_what_is_missing() {
        let recording = recording(&[vec![], vec![], vec![]]);
        assert!(recording.efforts.is_none());
        let error = recording.effort_episodes(0.01).unwrap_err().to_string();
        assert!(error.contains("no efforts") && error.contains("<joint>_eff"), "{error}");
    }

    #[test]
    fn a_joint_that_never_has_an_effort_is_named() {
        for lacking in [vec![1.0, f64::NAN], vec![1.0]] {
            let recording = recording(&[lacking.clone(), lacking.clone(), lacking]);
            assert!(
                recording.summary.to_string().contains("3 of 3 efforts lack a joint's"),
                "{}",
                recording.summary
            );
            let error = recording.effort_episodes(0.01).unwrap_err().to_string();
            assert!(error.contains("an effort of b; choose the others with --joints a"), "{error}");
        }
    }

    #[test]
    fn the_efforts_of_a_bag_are_those_of_its_table() {
        let Some(folder) = data_folder() else { return };
        let read = |name: &str| Recording::read(&folder.join(name), &Selection::default()).unwrap();
        let bag = read("bags_unisa/panda_exciting_trajectory.db3").efforts.unwrap();
        let table = read("bags_unisa/panda.csv.gz").efforts.unwrap();
        assert_eq!(bag.len(), table.len());
        for (bag, table) in bag.iter().flatten().zip(table.iter().flatten()) {
            assert!((bag - table).abs() < 1e-5 * bag.abs().max(1.0), "{bag} {table}");
        }
        assert_eq!(read("kuka_kr300/traj_A.csv.gz").efforts.unwrap()[0][1], -2.825_914_9);
    }
}
