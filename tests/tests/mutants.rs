//! Twenty and more mistakes of one line in the data path, each of which a named case of the list, or the comparison with
//! the reference model, must notice. Needs root; a build each, so in soak.

use std::{env, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::{
    binary::test_binary,
    cases,
    mutants::{Killer, MUTANTS, Mutant, Nursery},
};

#[test]
fn every_mistake_is_still_one_of_this_code() -> Result<()> {
    ensure!(MUTANTS.len() >= 20, "{} mutants", MUTANTS.len());
    let cases = cases::all();
    for mutant in MUTANTS {
        mutant.text().context(mutant.mistake)?;
        if let Killer::Case(wanted) = mutant.killer {
            let is_there = cases.iter().any(|case| case.description == wanted);
            ensure!(is_there, "{}: no case is called {wanted:?}", mutant.mistake);
        }
    }
    Ok(())
}

#[test]
#[ignore = "soak: a build and a run for each mutant"]
fn every_mutant_is_killed_by_its_case() -> Result<()> {
    let folder = env::var_os("FAIRLEAD_ARTIFACTS").map_or_else(env::temp_dir, Into::into);
    let nursery = Nursery::new(folder.join("mutants"))?;
    let healthy = nursery.object(None)?;
    for killer in [Killer::Case(""), Killer::Model] {
        let complaint = run(killer, &healthy)?;
        ensure!(complaint.is_none(), "the code as it is: {complaint:?}");
    }
    let mut alive = Vec::new();
    // A part of a mistake's name, to try that one alone.
    let wanted = env::var("FAIRLEAD_MUTANT").unwrap_or_default();
    for mutant in MUTANTS
        .iter()
        .filter(|mutant| mutant.mistake.contains(&wanted))
    {
        let verdict = judge(&nursery, mutant);
        println!(
            "{}: {}",
            mutant.mistake,
            verdict.as_deref().unwrap_or("alive")
        );
        if let Err(error) = verdict {
            alive.push(format!("{}: {error:#}", mutant.mistake));
        }
    }
    ensure!(alive.is_empty(), "alive:\n{}", alive.join("\n"));
    Ok(())
}

/// Who killed it.
fn judge(nursery: &Nursery, mutant: &Mutant) -> Result<String> {
    let object = nursery.object(Some(mutant))?;
    let output = run(mutant.killer, &object)?.context("nobody noticed")?;
    match mutant.killer {
        Killer::Model => Ok("killed by the model".to_owned()),
        Killer::Case(wanted) => {
            let is_named = output
                .lines()
                .any(|line| line.contains(&format!("{wanted} (IPv")));
            ensure!(is_named, "not noticed by {wanted:?}, but: {output}");
            Ok(format!("killed by {wanted:?}"))
        }
    }
}

/// What a test says about an object; `None`: it is right.
fn run(killer: Killer, object: &Path) -> Result<Option<String>> {
    let (binary, test) = match killer {
        Killer::Case(_) => ("fixtures", "listed::every_case_holds"),
        Killer::Model => ("reference", "the_data_path_does_what_the_model_says"),
    };
    let output = Command::new(test_binary(binary)?)
        .args(["--exact", test])
        .env("FAIRLEAD_OBJECT", object)
        .env("RUST_BACKTRACE", "0")
        .output()
        .with_context(|| format!("cannot run {binary}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        text.contains("test result: "),
        "{binary} did not finish: {text}"
    );
    Ok((!output.status.success()).then_some(text))
}
