//! Help, completions and man pages.

use crate::run::Home;

#[test]
fn the_version_is_one_line() {
    let ran = Home::new().run(&["--version"]);
    assert_eq!((ran.code, ran.out), (0, format!("meshctl {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn no_arguments_show_help_as_a_usage_error() {
    let ran = Home::new().run(&[]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("Usage: meshctl"), "{}", ran.err);
}

#[test]
fn every_shell_has_completions() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = home.run(&["completions", shell]);
        assert_eq!(ran.code, 0, "{shell}: {}", ran.err);
        assert!(ran.out.contains("token-file") && ran.out.contains("conversations"), "{shell}");
    }
    assert_eq!(home.run(&["completions", "cmd.exe"]).code, 2);
}

#[test]
fn bash_understands_its_completions() {
    let home = Home::new();
    let script = home.run(&["completions", "bash"]).out;
    let mut bash = std::process::Command::new("bash");
    let ran = home.finish(bash.args(["-n", "-"]), script.as_bytes());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}

#[test]
fn the_man_page_goes_to_standard_output_or_one_for_each_command_to_a_directory() {
    let home = Home::new();
    let ran = home.run(&["man"]);
    assert_eq!(ran.code, 0);
    for part in [".TH meshctl 1", ".SH NAME", "Exit codes", "meshctl\\-send(1)"] {
        assert!(ran.out.contains(part), "{part} is missing:\n{}", ran.out);
    }
    let dir = home.path("man1");
    assert_eq!(home.run(&["man", "--dir", &dir.display().to_string()]).code, 0);
    let mut names: Vec<String> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for name in ["meshctl.1", "meshctl-send.1", "meshctl-peers-block.1", "meshctl-token-create.1"] {
        assert!(names.iter().any(|known| known == name), "{name} of {names:?}");
    }
    let ran = home.run(&["man", "--dir", "/proc/nowhere"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.starts_with("error: can't write man pages to /proc/nowhere"), "{}", ran.err);
}
