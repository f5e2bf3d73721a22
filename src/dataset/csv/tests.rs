//! Tables as many tools write them, and what is said of those that cannot be read.

use super::*;
use crate::dataset::tests::data_folder;
use crate::state::State;
use std::f64::consts::PI;

fn read_text(text: &str, joints: Option<&[&str]>) -> Result<Recording> {
    let joints = joints.map(|joints| joints.iter().map(|&joint| joint.into()).collect());
    read_table(Path::new("x.csv"), text.as_bytes(), &Selection { joints, ..Default::default() })
}

#[test]
fn both_conventions_are_recognised() {
    let text = "t_s,b_pos,a_pos,a_vel,b_vel,a_eff\n0,1,2,3,4,5\n0.5,6,7,8,9,10\n1,,7,8,9,10\n";
    let recording = read_text(text, Some(&["a", "b"])).unwrap();
    assert_eq!(recording.joints, ["a", "b"]);
    assert_eq!(recording.states[1].position, [7.0, 6.0]);
    assert_eq!(recording.states[1].velocity, [8.0, 9.0]);
    assert_eq!(recording.states[1].stamp, Stamp(500_000_000));
    assert_eq!(recording.summary.not_finite, 1);

    let recording = read_text("t_s,q1,q2,qd1,qd2,q_ref1\n0,1,2,3,4,0\n1,1,2,3,4,0\n", None).unwrap();
    assert_eq!(recording.joints, ["q1", "q2"]);
    assert_eq!(recording.states[0].velocity, [3.0, 4.0]);

    let recording = read_text("time,a_pos\n0,1\n1,3\n", None).unwrap();
    assert!(recording.summary.differentiated);
}

#[test]
fn tables_of_something_else_are_refused() {
    let refused = |text: &str, joints| read_text(text, joints).unwrap_err().to_string();
    assert!(refused("a_pos\n1\n", None).contains("no column of time"));
    let expected =
        "no columns <joint>_pos or q1, q2, ..., nor x, y, yaw of a base; choose with --columns among t_s, x";
    assert!(refused("t_s,x\n0,1\n", None).contains(expected));
    assert!(refused("t_s,a_pos\n0,1\n", Some(&["c"])).contains("no joint 'c' among a"));
    assert!(refused("t_s,a_pos\n0,1,2\n", None).contains("row 1 has 3 cells, the header 2"));
    assert!(refused("t_s,x,y,yaw\n0,1,2,3\n", Some(&["a"])).contains("there is a base in it"));
    assert!(refused("", None).contains("the table is empty"));
}

#[test]
fn a_time_that_is_none_in_seconds_is_named() {
    let refused = |text: &str| read_text(text, None).unwrap_err().to_string();
    let error = refused("t_s,a_pos\n\"0,1\",1\n\"0,2\",2\n");
    assert!(
        error.contains("(2 times), the first: row 1: '0,1' in column 't_s' is no time in seconds"),
        "{error}"
    );
    let error = refused("t_s,a_pos\n1e30,1\n2e30,2\n");
    assert!(error.contains("'1e30' in column 't_s' is no time in seconds nor"), "{error}");
    assert!(error.contains("of another unit: --columns time=t_s:ms"), "{error}");
}

#[test]
fn a_time_since_1970_is_in_the_unit_that_makes_it_one() {
    for (first, last, unit) in [
        ("1700000000000000000", "1700000000010000001", "nanoseconds"),
        ("1700000000000000", "1700000000010000", "microseconds"),
        ("1700000000000", "1700000000010", "milliseconds"),
    ] {
        let read = read_text(&format!("time,a_pos\n{first},1\n{last},2\n"), None).unwrap();
        let between = read.states[1].stamp.0 - read.states[0].stamp.0;
        assert_eq!(between, 10_000_000 + i64::from(unit == "nanoseconds"), "{unit}");
        assert_eq!(read.states[0].stamp, Stamp(1_700_000_000_000_000_000));
        let said = format!("the time 'time' is in {unit} since 1970, by its size");
        assert!(read.summary.to_string().contains(&said), "{}", read.summary);
    }
}

#[test]
fn a_joint_without_a_column_of_velocity_leaves_the_others_theirs() {
    let recording = read_text("t_s,a_pos,a_vel,b_pos\n0,1,7,1\n0.5,1,7,2\n1,1,7,4\n", None).unwrap();
    let velocities: Vec<&[f64]> = recording.states.iter().map(|state| &state.velocity[..]).collect();
    assert_eq!(velocities, [[7.0, 0.0], [7.0, 2.0], [7.0, 4.0]]);
    let said = "3 of 6 velocities are missing; made by differences of the positions";
    assert!(recording.summary.to_string().contains(said), "{}", recording.summary);
}

fn read_columns(text: &str, columns: &str) -> Result<Recording> {
    let columns = Some(columns.parse().unwrap());
    read_table(Path::new("x.csv"), text.as_bytes(), &Selection { columns, ..Default::default() })
}

#[test]
fn any_table_is_read_with_a_column_map() {
    let text = "a,b,c,d\n0,1,2,3\n1,2,3,4\n";
    let recording = read_columns(text, "time=a, elbow=b:c:d, wrist=d:b").unwrap();
    assert_eq!(recording.joints, ["elbow", "wrist"]);
    assert_eq!(
        (&recording.states[0].position[..], &recording.states[0].velocity[..]),
        (&[1.0, 3.0][..], &[2.0, 1.0][..])
    );
    assert!(recording.efforts.is_none(), "the wrist has none");
    let recording = read_columns(text, "time=a,elbow=b:c:d").unwrap();
    assert_eq!(recording.efforts, Some(vec![vec![3.0], vec![4.0]]));
    let recording = read_columns(text, "time=a,x=b,y=c,yaw=d").unwrap();
    assert_eq!((recording.space, recording.states[1].position[0]), (Space::PlanarBase, 2.0));
    let refused = |columns| read_columns(text, columns).unwrap_err().to_string();
    assert!(refused("time=a,x=e,y=b,yaw=c").contains("no column 'e' among a, b, c, d"));
    assert!(refused("x=a,y=b,yaw=c").contains("no time=, and there is no --rate"));
    assert!(refused("time=a:min,elbow=b").contains("unit s, ms, us or ns, not 'min'"));
    assert!(refused("time=a,x=b,yaw=c").contains("need yaw= and either x= and y= or vx="));
    assert!(refused("time=a").contains("no columns <joint>_pos"));
    for wrong in ["", "time", "time=", "=a", "j=a:b:c:d", "j=a::b"] {
        assert!(wrong.parse::<Columns>().is_err(), "{wrong}");
    }
}

#[test]
fn a_table_without_names_is_read_by_the_numbers_of_its_columns() {
    let text = "0.0,1,2,3\n0.5,4,5,6\n";
    for columns in ["time=1,elbow=2:4", "time=1:s,elbow=2:4"] {
        let recording = read_columns(text, columns).unwrap();
        let states = &recording.states;
        assert_eq!((states.len(), states[0].position[0], states[1].velocity[0]), (2, 1.0, 6.0));
    }
    let refused = |text: &str| read_text(text, None).unwrap_err().to_string();
    assert!(
        refused(text).contains("its 4 columns have no names; say which they are: --columns time=1,elbow=2:3"),
        "{}",
        refused(text)
    );
    assert!(read_columns(text, "time=1,elbow=5").unwrap_err().to_string().contains("no column '5'"));
    let named = "7,t,q\n1,0,2\n1,1,2\n";
    assert_eq!(read_columns(named, "time=2,a=q").unwrap().states[1].stamp, Stamp(1_000_000_000));

    let of_rate = |text: &str, columns: Option<&str>, rate| {
        let columns = columns.map(|columns| columns.parse().unwrap());
        let selection = Selection { columns, rate: Some(rate), ..Default::default() };
        read_table(Path::new("x.csv"), text.as_bytes(), &selection)
    };
    // what is missing at the end of the first row is missing there alone
    let read = read_columns("0,1,\n1,1,5\n2,1,6\n", "time=1,elbow=2:3").unwrap();
    assert_eq!((read.states.len(), read.states[1].velocity[0]), (3, 5.0), "{}", read.summary);
    // a row that is cut off takes its time with it
    let recording = of_rate("1,2\n1\n3,4\n5,6\n", Some("elbow=1"), 50.0).unwrap();
    let times: Vec<i64> = recording.states.iter().map(|state| state.stamp.0).collect();
    assert_eq!(times, [0, 40_000_000, 60_000_000]);
    assert_eq!(of_rate("q1,q2\n1,2\n3,4\n", None, 50.0).unwrap().summary.interval, 0.02);
    assert!(of_rate(text, Some("time=1,elbow=2"), 50.0).unwrap_err().to_string().contains("leave out time="));
    assert!(of_rate(text, Some("elbow=2"), 0.0).unwrap_err().to_string().contains("--rate [Hz]: found 0"));
}

#[test]
fn cells_may_be_set_apart_by_other_than_commas() {
    let expected = read_text("t_s,q1,qd1\n0,1.5,2\n0.5,2.5,2\n", None).unwrap().states;
    for text in [
        "t_s;q1;qd1\n0;1.5;2\n0.5;2.5;2\n",
        "t_s;q1;qd1\r\n0;1,5;2\r\n0,5;2,5;2\r\n",
        "t_s\tq1\tqd1\n0\t1.5\t2\n0.5\t2.5\t2\n",
        "# of a robot; with a comment\n  t_s q1   qd1\n 0  1.5 2 \n0.5 2.5\t2\n",
    ] {
        assert_eq!(read_text(text, None).unwrap().states, expected, "{text}");
    }
    for text in ["0 1.5 2\n 0.5 2.5 2\n", "0;1,5;2\n0,5;2,5;2\n", "0\t1,5\t2\n0,5\t2,5\t2\n"] {
        assert_eq!(read_columns(text, "time=1,q1=2:3").unwrap().states, expected, "{text}");
    }
}

#[test]
fn a_table_is_known_by_its_name() {
    for name in ["x.csv", "X.CSV.gz", "x.tsv", "x.txt.gz"] {
        assert!(is_table(Path::new(name)), "{name}");
    }
    assert!(!["x.mcap", "x.gz", "csv", "x.csv.zip"].iter().any(|name| is_table(Path::new(name))));
}

#[test]
fn the_names_that_others_give_are_known() {
    let joints = |text: &str| read_text(text, None).unwrap();
    let robot = joints("timestamp,actual_q_0,actual_q_1,actual_qd_0,actual_qd_1\n0,1,2,3,4\n1,1,2,3,4\n");
    assert_eq!(
        (robot.joints, robot.states[0].velocity.clone()),
        (vec!["q0".into(), "q1".into()], vec![3.0, 4.0])
    );
    let robot = joints("timestamp,x,y,yaw,joint1,joint2\n0,9,9,9,1,2\n1,9,9,9,1,2\n");
    assert_eq!(
        (robot.joints, &robot.states[0].position[..]),
        (vec!["joint1".into(), "joint2".into()], &[1.0, 2.0][..])
    );
    let robot = joints("time,joint_0,joint_0_vel,joint_x\n0,1,3,0\n1,1,3,0\n");
    assert_eq!((robot.joints, &robot.states[0].velocity[..]), (vec!["joint_0".into()], &[3.0][..]));
    let robot = joints("time_ms,elbow_position,elbow_velocity\n0,1,3\n20,1,3\n");
    assert_eq!((robot.joints, robot.summary.interval), (vec!["elbow".into()], 0.02));
}

#[test]
fn capitals_units_in_brackets_and_commas_at_the_end_are_no_obstacle() {
    let table = "Time [ms],Elbow_Pos (rad),Elbow_Vel (rad/s)\n0,1,3,\n20,1,3,\n40,1,3\n";
    let robot = read_text(table, None).unwrap();
    assert_eq!((robot.joints, robot.summary.interval, robot.summary.kept), (vec!["Elbow".into()], 0.02, 3));
    let error = read_text("time,q1 [ticks]\n0,1\n1,2\n", None).unwrap_err().to_string();
    assert!(error.contains("choose with --columns among time, q1 [ticks]"), "{error}");
}

#[test]
fn values_are_read_in_the_units_of_their_names() {
    let table = "time,q1 [deg],dq1 [deg/s],tau1\n0,180,90,1\n0.5,225,90,1\n";
    let robot = read_text(table, None).unwrap();
    let [_, State { position, velocity, .. }] = &robot.states[..] else { panic!("{}", robot.summary) };
    assert!((position[0] - 1.25 * PI).abs() < 1e-12 && (velocity[0] - 0.5 * PI).abs() < 1e-12);
    let said = robot.summary.to_string();
    assert!(said.contains("in the units of their names: q1 [deg], dq1 [deg/s]"), "{said}");
    let named = read_columns(table, "time=time:s,elbow=2:3").unwrap();
    assert_eq!(named.states, robot.states);
    let base = read_text("t,x_mm,y_mm,heading_deg,speed_mps\n0,0,0,90,0.5\n1,0,500,90,0.5\n", None).unwrap();
    let [_, State { position, .. }] = &base.states[..] else { panic!("{}", base.summary) };
    assert!((position[1] - 0.5).abs() < 1e-12 && (position[2] - 0.5 * PI).abs() < 1e-12);
}

#[test]
fn all_joints_are_read_whatever_their_columns_are_called_and_no_commands() {
    let read = |names: &str| {
        let rows = [0, 1].map(|row| {
            names.split(',').enumerate().map(|(at, _)| format!("{}", row + at)).collect::<Vec<_>>().join(",")
        });
        let read = read_text(&format!("{names}\n{}\n{}\n", rows[0], rows[1]), None).unwrap();
        (read.joints.join(" "), read.states[0].position.clone(), read.summary.to_string())
    };
    let (joints, positions, said) = read("time,joint1,joint2,joint1_vel,gripper_pos,temperature");
    assert_eq!((&joints[..], &positions[..]), ("joint1 joint2 gripper", &[1.0, 2.0, 4.0][..]));
    assert!(said.contains("columns that are not read: temperature"), "{said}");
    let (joints, positions, said) = read("time,target_j1_position,j1_cmd_pos,Actual_j1_position");
    assert_eq!((&joints[..], &positions[..]), ("j1", &[3.0][..]));
    assert!(said.contains("not read: target_j1_position, j1_cmd_pos"), "{said}");
    let chosen = read_text("t,x,y,yaw,q1\n0,1,2,0.1,3\n1,1,2,0.1,3\n", Some(&BASE)).unwrap();
    assert_eq!((chosen.space, &chosen.states[0].position[..]), (Space::PlanarBase, &[1.0, 2.0, 0.1][..]));
    assert_eq!(read("t,q1,ee_x_pos,ee_y_pos").0, "q1");
    assert_eq!(read("t,x_pos,y_pos,z_pos").0, "x y z");
    assert_eq!(read("t,x_pos,y_pos,yaw,steering_angle").0, "x y yaw");
    let (base, positions, _) = read("t,cmd_vel.linear.x,odom.position.x,odom.position.y,yaw");
    assert_eq!((&base[..], &positions[..2]), ("x y yaw", &[2.0, 3.0][..]));
}

#[test]
fn stamps_in_two_columns_and_quaternions_are_read() {
    let (z, w) = (0.25_f64.sin(), 0.25_f64.cos());
    let expected = |table: &str, columns: Option<&str>| {
        let base =
            columns.map_or_else(|| read_text(table, None), |columns| read_columns(table, columns)).unwrap();
        assert_eq!((base.space, base.states.len()), (Space::PlanarBase, 2), "{table}");
        let [first, second] = &base.states[..] else { unreachable!() };
        assert!((second.stamp.since(first.stamp) - 0.5).abs() < 1e-12, "{table}");
        assert!((first.position[2] - 0.5).abs() < 1e-9 && second.position[0] == 1.25, "{table}");
    };
    let names = "header.stamp.sec,header.stamp.nanosec,pose.pose.position.x,pose.pose.position.y,pose.pose.orientation.x,\
                 pose.pose.orientation.y,pose.pose.orientation.z,pose.pose.orientation.w,twist.twist.linear.x,twist.twist.angular.z";
    let rows = format!(
        "1700000000,750000000,1,2,0,0,{z},{w},0.5,0\n1700000001,250000000,1.25,2,0,0,{z},{w},0.5,0\n"
    );
    expected(&format!("{names}\n{rows}"), None);
    expected(&rows, Some("time=1:2,x=3,y=4,yaw=7:8,vx=9"));
    // stamps that nobody wrote leave the time of the recording
    let recorded = "Time,sec,nanosec,q1\n0.5,0,0,1\n1.0,0,0,2\n1.5,0,0,3\n";
    let recorded = read_text(recorded, None).unwrap();
    assert_eq!((recorded.states.len(), recorded.summary.interval), (3, 0.5));
    assert!(recorded.summary.log_time);
    let trajectory =
        format!("# timestamp tx ty tz qx qy qz qw\n0.25 1 2 0 0 0 {z} {w}\n0.75 1.25 2 0 0 0 {z} {w}\n");
    expected(&trajectory, Some("time=1,x=2,y=3,yaw=5:6:7:8"));
    let error = read_columns(&trajectory, "time=1,x=2,y=3,yaw=5:6:7").unwrap_err().to_string();
    assert!(error.contains("yaw=qx:qy:qz:qw"), "{error}");
}

#[test]
fn a_time_that_may_be_in_milliseconds_is_not_taken_for_seconds() {
    let rows = |interval: i32| -> String {
        let rows = (0..100).map(|step| format!("{},{}\n", interval * step, step));
        format!("time,a_pos\n{}", rows.collect::<String>())
    };
    let said = "rows are 10 s apart; if the time is in milliseconds: --columns time=time:ms, if in seconds: time=time:s";
    let error = read_text(&rows(10), None).map(drop).unwrap_err().to_string();
    assert!(error.contains(said), "{error}");
    let said = "warning: rows are 2 s apart; if the time is in milliseconds: --columns time=time:ms";
    let summary = read_text(&rows(2), None).unwrap().summary;
    assert!(summary.to_string().contains(said), "{summary}");
    for (unit, interval) in [("ms", 0.01), ("s", 10.0)] {
        let summary = read_columns(&rows(10), &format!("time=time:{unit},a=a_pos")).unwrap().summary;
        assert_eq!(summary.interval, interval);
        assert!(!summary.to_string().contains("warning"), "{summary}");
    }
}

#[test]
fn dates_with_a_time_are_read_to_the_nanosecond() {
    let stamps = |times: [&str; 2]| {
        let text = format!("timestamp,a_pos\n{},1\n{},2\n", times[0], times[1]);
        let states = read_text(&text, None).unwrap().states;
        (states[0].stamp, states[1].stamp.0 - states[0].stamp.0)
    };
    let first = Stamp(1_777_636_800_000_000_000);
    assert_eq!(stamps(["2026-05-01 12:00:00", "2026-05-01 12:00:00.020000001"]), (first, 20_000_001));
    assert_eq!(stamps(["2026-05-01T12:00:00Z", "2026-05-01T12:00:01.5Z"]), (first, 1_500_000_000));
    assert_eq!(stamps(["2026-05-01 14:00:00+02:00", "2026-05-01 14:00:01+02:00"]), (first, 1_000_000_000));
    for times in
        [["0.5 sec", "0.75 sec"], ["00:00:00.5", "00:00:00.75"], ["1 days 00:00:00", "1 days 00:00:00.25"]]
    {
        assert_eq!(stamps(times).1, 250_000_000, "{times:?}");
    }
    let error = read_text("timestamp,a_pos\n1. May,1\n2. May,2\n", None).map(drop).unwrap_err();
    assert!(error.to_string().contains("'1. May' in column 'timestamp' is no time in seconds nor a date"));
}

#[test]
fn what_other_tools_write_around_a_table_is_no_obstacle() {
    let table = "t,a_pos\n0,1\n0.5,2\n1,3\n";
    let plain = read_text(table, None).unwrap().states;
    for comment in ["% a, b\n%\n", "// written by\n", "# x\n"] {
        let read = read_text(&format!("{comment}{table}"), None).unwrap();
        assert_eq!((read.states, read.summary.read), (plain.clone(), 3));
    }
    let falling: String = (0..100).rev().map(|step| format!("0.{step:02},{step}\n")).collect();
    let read = read_text(&format!("t,a_pos\n{falling}"), None).unwrap();
    assert_eq!((read.states[0].position[0], read.states[99].position[0]), (0.0, 99.0));
    assert!(read.summary.to_string().contains("from the last row to the first"), "{}", read.summary);
    let refused = |bytes: &[u8]| {
        read_table(Path::new("x.csv"), bytes, &Selection::default()).map(drop).unwrap_err().to_string()
    };
    let wide: Vec<u8> = format!("\u{feff}{table}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(refused(&wide).contains("UTF-16"));
    // of letters that are not in UTF-8 only the names matter
    let text = b"t,a_pos,angle [\xb0]\n0,1,2\n0.5,2,2\n";
    let read = read_table(Path::new("x.csv"), &text[..], &Selection::default()).unwrap();
    assert_eq!(read.joints, ["a"]);
}

#[test]
fn steps_of_degrees_are_no_turns() {
    let angle = |step: i32| 120.0 * f64::sin(0.06 * f64::from(step));
    let rows = (0..500).map(|step| format!("{},{}\n", 0.04 * f64::from(step), angle(step)));
    let read = read_text(&format!("t,a_pos\n{}", rows.collect::<String>()), None).unwrap();
    let said = read.summary.to_string();
    assert!(!said.contains("jump"), "{said}");
    assert!(
        said.contains("warning: angles of many turns: a (-120.0 to 120.0); if they are in degrees"),
        "{said}"
    );
    let pairs = (0..).zip(&read.states);
    pairs.for_each(|(step, state)| assert!((state.position[0] - angle(step)).abs() < 1e-9, "{step}"));
}

#[test]
fn stamps_that_are_not_of_the_measurements_are_warned_of() {
    let summary = |time: &dyn Fn(i32) -> f64| {
        let rows = (0..1000).map(|step| format!("{},{step}\n", time(step)));
        read_text(&format!("time,a_pos\n{}", rows.collect::<String>()), None).unwrap().summary
    };
    let even = summary(&|step| 0.02 * f64::from(step));
    assert!(!even.to_string().contains("warning"), "{even}");
    let coarse = summary(&|step| 0.1 * f64::from(step / 5));
    assert!(coarse.to_string().contains("warning: 796 have the stamp of the one before"), "{coarse}");
    assert!(coarse.to_string().contains("--rate 50, in place of the time"), "{coarse}");
    let bursts = summary(&|step| 0.1 * f64::from(step / 5) + 1e-4 * f64::from(step % 5));
    assert!((bursts.interval - 0.02).abs() < 0.002 && bursts.gaps == 0, "{bursts}");
    assert!(bursts.to_string().contains("warning: they come in bursts"), "{bursts}");
}

#[test]
fn what_is_whole_before_damage_is_read() {
    let text: String = (0..2000).map(|step| format!("{step},{step}.5,1\n")).collect();
    let text = format!("t_s,a_pos,a_vel\n{text}");
    let cut = read_text(&text[..text.len() - 4], None).unwrap().summary;
    assert_eq!((cut.read, cut.kept, cut.undecodable), (2000, 1999, 1));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv.gz");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut packed, text.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    std::fs::write(&path, &packed[..packed.len() / 2]).unwrap();
    let summary = Recording::read(&path, &Selection::default()).unwrap().summary;
    assert!(summary.kept > 500 && summary.kept < 1500, "{summary}");
    assert!(summary.to_string().contains("rest of the table not readable"), "{summary}");
    let error = read_text(&"0".repeat(3 << 20), None).unwrap_err().to_string();
    assert!(error.contains("a line of more than"), "{error}");
}

#[test]
fn recorded_bases_are_read() {
    let Some(folder) = data_folder() else { return };
    let columns = |columns: &str| Selection { columns: Some(columns.parse().unwrap()), ..Default::default() };
    let plaza = columns("time=t_dr_s,x=x_dr_m,y=y_dr_m,yaw=heading_dr_rad");
    let plaza = Recording::read(&folder.join("plaza_mower/plaza1.csv.gz"), &plaza).unwrap();
    assert_eq!((plaza.space, plaza.summary.read), (Space::PlanarBase, 9658));
    assert!(plaza.summary.differentiated && (plaza.summary.interval - 0.2).abs() < 0.01, "{}", plaza.summary);
    let speed: f64 =
        plaza.states.iter().map(|state| state.velocity[0]).sum::<f64>() / plaza.states.len() as f64;
    assert!((speed - 0.96).abs() < 0.05, "{speed} m/s");
    let vehicle = folder.join("bags_ackermann_gps/bag_odometry.csv.gz");
    let vehicle = Recording::read(&vehicle, &Selection::default()).unwrap();
    assert!(vehicle.summary.integrated, "{}", vehicle.summary);
}

#[test]
fn the_recorded_tables_are_read() {
    let Some(folder) = data_folder() else { return };
    let expected = [
        ("tiago_arm_100hz/tiago.csv.gz", 8, 8022, 0.01),
        ("bags_unisa/panda.csv.gz", 7, 727, 1.0 / 30.0),
        ("kuka_kr300/traj_A.csv.gz", 6, 2501, 0.004),
    ];
    for (name, joints, kept, interval) in expected {
        let recording = Recording::read(&folder.join(name), &Selection::default()).unwrap();
        assert_eq!((recording.joints.len(), recording.summary.kept), (joints, kept), "{name}");
        assert!((recording.summary.interval - interval).abs() < 0.02 * interval, "{name}");
        assert!(!recording.summary.differentiated);
    }
}
