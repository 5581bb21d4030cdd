use std::{
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

use super::*;

#[test]
fn every_seed_and_every_crash_ever_found_passes() {
    for (name, target) in TARGETS {
        let (seeds, crashes) = (files("corpus", name), files("crashes", name));
        assert!(seeds.len() >= 3, "{name} has {} seeds", seeds.len());
        for file in seeds.into_iter().chain(crashes) {
            let input = fs::read(&file).unwrap();
            assert!(input.len() <= 16 * 1024, "{} is no small seed", file.display());
            let passed = catch_unwind(|| target(&input));
            assert!(passed.is_ok(), "{name} fails on {}", file.display());
        }
    }
}

/// Without a fuzzer, a few thousand mutations of the seeds find what is broken grossly.
#[test]
fn mutated_seeds_pass() {
    for (name, target) in TARGETS {
        let seeds: Vec<_> = files("corpus", name).iter().map(|file| fs::read(file).unwrap()).collect();
        let mut random = fastrand::Rng::with_seed(14);
        for _ in 0..200 {
            let input = mutated(&seeds, &mut random);
            let passed = catch_unwind(|| target(&input));
            assert!(passed.is_ok(), "{name} fails on {}", input.escape_ascii());
        }
    }
}

#[test]
fn each_target_has_a_program_and_no_folder_is_left_over() {
    let names: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for name in &names {
        let program = fs::read_to_string(root().join(format!("fuzz/fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("cognito_lookup::fuzzing::run(\"{name}\", input)")), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name}");
    }
    for folder in ["corpus", "crashes"] {
        for folder in fs::read_dir(root().join("fuzz").join(folder)).into_iter().flatten() {
            let name = folder.unwrap().file_name().into_string().unwrap();
            assert!(names.contains(&name), "{name} is no target");
        }
    }
}

fn mutated(seeds: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut input = seeds[random.usize(..seeds.len())].clone();
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..=input.len());
        match (random.u8(..4), input.get_mut(at)) {
            (0, Some(byte)) => *byte ^= 1 << random.u8(..8),
            (1, Some(_)) => _ = input.remove(at),
            (2, _) => input.insert(at, *random.choice(b"\0\n\"\\{}[],:.=-_0e\xff").unwrap()),
            _ => {
                let other = &seeds[random.usize(..seeds.len())];
                let part = random.usize(..=other.len());
                input.splice(at.., other[part..].iter().copied());
            }
        }
    }
    input
}

/// Returns the files of a target, sorted. A target that never crashed has no folder.
fn files(folder: &str, target: &str) -> Vec<PathBuf> {
    let folder = fs::read_dir(root().join("fuzz").join(folder).join(target)).into_iter().flatten();
    let mut files: Vec<_> = folder.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
