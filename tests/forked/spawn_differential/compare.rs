//! Compares the outcomes of two forms and lists the intended differences.

use super::case::{Case, Change, Fault};
use super::forms::Failure;
use rawpipe::process::SpawnStage;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

pub(crate) enum Outcome {
    Failed(Failure),
    Ran(Ran),
}

/// The exit status and the report of a program that was started.
pub(crate) struct Ran {
    status: i32,
    facts: BTreeMap<String, String>,
}

impl Ran {
    pub(crate) fn new(status: i32, report: &str) -> Self {
        let lines = report.lines().filter_map(|line| line.split_once(' '));
        let facts = lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { status, facts }
    }

    fn environ(&self) -> Option<Vec<&str>> {
        Some(self.facts.get("environ")?.split_terminator("\\x00").collect())
    }
}

#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) key: String,
    pub(crate) ours: String,
    pub(crate) theirs: String,
}

impl Difference {
    pub(crate) fn new(key: &str, ours: &impl Debug, theirs: &impl Debug) -> Self {
        Self { key: key.to_owned(), ours: format!("{ours:?}"), theirs: format!("{theirs:?}") }
    }
}

/// Returns a copy of the facts in which the form's own pipes are numbered in descriptor order. The numbers
/// replace the identities of these pipes, which always differ between the two forms.
fn without_own_pipes(
    facts: &BTreeMap<String, String>,
    known: &BTreeSet<&str>,
) -> BTreeMap<String, String> {
    let mut own: Vec<String> = Vec::new();
    let mut all = facts.clone();
    let mut numbers: Vec<_> = all.keys().filter(|key| key.starts_with("fd-")).cloned().collect();
    numbers.sort_by_key(|key| key[3..].parse::<i32>().unwrap_or(0));
    for key in numbers {
        let Some((identity, rest)) = all[&key].split_once(' ') else { continue };
        if rest.starts_with("mode 10600 ") && !known.contains(identity) {
            let index = own.iter().position(|one| one == identity).unwrap_or_else(|| {
                own.push(identity.to_owned());
                own.len() - 1
            });
            let value = format!("own-pipe-{index} {rest}");
            all.insert(key, value);
        }
    }
    all
}

pub(crate) fn differences(ours: &Outcome, theirs: &Outcome) -> Vec<Difference> {
    let (ours, theirs) = match (ours, theirs) {
        (Outcome::Ran(ours), Outcome::Ran(theirs)) => (ours, theirs),
        (Outcome::Failed(ours), Outcome::Failed(theirs)) => {
            let same =
                ours.kind == theirs.kind && (theirs.errno.is_none() || ours.errno == theirs.errno);
            return if same { Vec::new() } else { vec![Difference::new("error", ours, theirs)] };
        }
        (Outcome::Ran(ours), Outcome::Failed(theirs)) => {
            return vec![Difference::new("outcome", &ours.status, theirs)];
        }
        (Outcome::Failed(ours), Outcome::Ran(theirs)) => {
            return vec![Difference::new("outcome", ours, &theirs.status)];
        }
    };
    let mut all = Vec::new();
    if ours.status != theirs.status || ours.facts.is_empty() != theirs.facts.is_empty() {
        let of = |ran: &Ran| format!("{:x}, {} facts", ran.status, ran.facts.len());
        all.push(Difference::new("status", &of(ours), &of(theirs)));
        return all;
    }
    let identities = |ran: &'_ Ran| -> BTreeSet<String> {
        let fds = ran.facts.iter().filter(|(key, _)| key.starts_with("fd-"));
        fds.filter_map(|(_, value)| Some(value.split_once(' ')?.0.to_owned())).collect()
    };
    let both: BTreeSet<String> =
        identities(ours).intersection(&identities(theirs)).cloned().collect();
    let known: BTreeSet<&str> = both.iter().map(String::as_str).collect();
    let (ours, theirs) =
        (without_own_pipes(&ours.facts, &known), without_own_pipes(&theirs.facts, &known));
    let keys: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    for key in keys {
        if ours.get(key) != theirs.get(key) {
            all.push(Difference::new(key, &ours.get(key), &theirs.get(key)));
        }
    }
    all
}

/// Returns the kind of a difference. All differences in descriptors have the same kind, and the kind of a
/// failure includes its error and stage.
pub(crate) fn kind(key: &str, ours: &Outcome) -> String {
    match ours {
        _ if key.starts_with("fd-") => String::from("a descriptor"),
        Outcome::Failed(failure) => {
            let stage = failure.stage.map_or(String::new(), |stage| match stage {
                SpawnStage::Dup { .. } => String::from(" at Dup"),
                stage => format!(" at {stage:?}"),
            });
            format!("{key}, errno {}{stage}", failure.errno.unwrap_or(0))
        }
        Outcome::Ran(_) => key.to_owned(),
    }
}

/// Returns a difference if the program was started despite the fault, or if the failure names the wrong
/// stage. Without a fault, the only correct stage is `Exec`.
pub(crate) fn stage(fault: Option<Fault>, ours: &Outcome) -> Option<Difference> {
    let Outcome::Failed(failure) = ours else {
        let harmless = fault.is_none();
        return (!harmless).then(|| Difference::new("fault", &"started", &fault));
    };
    let stage = failure.stage?;
    let right = match fault {
        None => stage == SpawnStage::Exec,
        Some(Fault::Folder) => stage == SpawnStage::Chdir,
        Some(Fault::Nul | Fault::Name) => stage == SpawnStage::Arguments,
        Some(Fault::Target | Fault::Source) => matches!(stage, SpawnStage::Dup { .. }),
        Some(Fault::Group) => stage == SpawnStage::Setpgid,
        Some(Fault::User) => matches!(stage, SpawnStage::Setgroups | SpawnStage::Setuid),
    };
    (!right).then(|| Difference::new("stage", &stage, &fault))
}

/// An intended difference and its reason.
struct Intended {
    name: &'static str,
    #[allow(dead_code, reason = "documents the table")]
    reason: &'static str,
    holds: fn(&Given<'_>) -> bool,
}

struct Given<'a> {
    std: bool,
    case: &'a Case,
    key: &'a str,
    ours: &'a Outcome,
    theirs: &'a Outcome,
}

const INTENDED: &[Intended] = &[
    Intended {
        name: "no signal is blocked",
        reason: "std's child inherits the mask of the thread that spawns it; programs rarely expect that",
        holds: |given| {
            let (Outcome::Ran(ours), Outcome::Ran(theirs)) = (given.ours, given.theirs) else {
                return false;
            };
            // Signals 9 and 19 cannot be blocked, and the C library reserves 32 and 33.
            let blocked =
                given.case.blocked.iter().filter(|signal| ![9, 19, 32, 33].contains(*signal));
            let blocked = blocked.fold(0_u64, |set, signal| set | 1 << (signal - 1));
            given.std
                && given.key == "SigBlk"
                && given.case.signal_mask.is_none()
                && ours.facts.get("SigBlk").is_some_and(|set| *set == format!("{:016x}", 0))
                && theirs.facts.get("SigBlk").is_some_and(|set| *set == format!("{blocked:016x}"))
        },
    },
    Intended {
        name: "a shell for what the kernel does not know",
        reason: "execvp runs a file without #! with /bin/sh; this crate returns ENOEXEC",
        holds: |given| {
            const ENOEXEC: i32 = 8;
            given.std
                && given.key == "outcome"
                && matches!(given.ours, Outcome::Failed(failure) if failure.errno == Some(ENOEXEC))
                && matches!(given.theirs, Outcome::Ran(ran) if ran.facts.is_empty())
        },
    },
    Intended {
        name: "a variable without a name",
        reason: "EINVAL; std makes an entry of it that no program finds",
        holds: |given| {
            const EINVAL: i32 = 22;
            given.std
                && given.case.fault == Some(Fault::Name)
                && matches!(given.ours, Outcome::Failed(failure)
                    if failure.errno == Some(EINVAL) && failure.stage == Some(SpawnStage::Arguments))
                && ["outcome", "error"].contains(&given.key)
        },
    },
    Intended {
        name: "the entries of a changed environment",
        reason: "std rebuilds it from a sorted map, which drops entries without a name and all but the \
                 last of several values; this crate leaves unchanged entries as they are",
        holds: |given| {
            given.std
                && given.key == "environ"
                && changed_environment(given).is_some_and(|same| same)
        },
    },
    Intended {
        name: "the search path of a changed environment with several",
        reason: "as above: std searches the last one, and programs find the first",
        holds: |given| {
            let envp = given.case.envp();
            let paths = envp.iter().filter(|entry| entry.starts_with(b"PATH=")).count();
            given.std
                && !given.case.changes.is_empty()
                && paths > 1
                && !given.case.program.contains(&b'/')
                && ["cmdline", "error", "exe", "outcome", "status"].contains(&given.key)
        },
    },
    Intended {
        name: "found in no folder",
        reason: "ENOENT, whatever the folders were; execvp has the error of the last one",
        holds: |given| {
            const NOT_THERE: [i32; 4] = [19, 20, 110, 116]; // ENODEV, ENOTDIR, ETIMEDOUT, ESTALE
            given.key == "error"
                && !given.case.program.contains(&b'/')
                && matches!(given.ours, Outcome::Failed(failure)
                    if failure.errno == Some(2) && failure.stage == Some(SpawnStage::Exec))
                && matches!(given.theirs, Outcome::Failed(failure)
                    if failure.errno.is_some_and(|errno| NOT_THERE.contains(&errno)))
        },
    },
    Intended {
        name: "a search path longer than a path",
        reason: "execvp ends its search with ENAMETOOLONG there; this crate passes over the folder",
        holds: |given| {
            const ENAMETOOLONG: i32 = 36;
            let longer = given.case.envp().iter().any(|entry| entry.len() > 4000);
            longer
                && ["outcome", "error"].contains(&given.key)
                && matches!(given.theirs, Outcome::Failed(failure) if failure.errno == Some(ENAMETOOLONG))
        },
    },
];

/// Returns whether this crate's form passes on all entries that std's form passes on. This crate's form may
/// also pass on entries of the launcher that std omits, but no other entries. Returns `None` if the case
/// changes no variable or if a form failed.
fn changed_environment(given: &Given<'_>) -> Option<bool> {
    if given.case.changes.is_empty() {
        return None;
    }
    let (Outcome::Ran(ours), Outcome::Ran(theirs)) = (given.ours, given.theirs) else {
        return None;
    };
    let (ours, theirs) = (ours.environ()?, theirs.environ()?);
    let name_of = |entry: &str| {
        let end = entry.char_indices().skip(1).find(|(_, character)| *character == '=');
        end.map(|(end, _)| entry[..end].to_owned())
    };
    let own: Vec<String> =
        given.case.environ.iter().map(|entry| entry.escape_ascii().to_string()).collect();
    let names: BTreeSet<_> = theirs.iter().filter_map(|entry| name_of(entry)).collect();
    let cleared = given.case.changes.contains(&Change::Clear);
    let more = ours.iter().filter(|entry| !theirs.contains(entry));
    let explained = |entry: &str| {
        let inherited = own.iter().any(|one| one == entry) && !cleared;
        // The entry has no name, or std's environment also contains this name.
        inherited && name_of(entry).is_none_or(|name| names.contains(&name))
    };
    let mut more = more.copied();
    let most = own.len() + given.case.changes.len();
    Some(
        ours.len() <= most
            && theirs.iter().all(|entry| ours.contains(entry))
            && more.all(explained),
    )
}

/// Returns the name of the intended difference that explains this difference, or `None` if no intended
/// difference does.
pub(crate) fn intended(
    pair: &str,
    case: &Case,
    difference: &Difference,
    ours: &Outcome,
    theirs: &Outcome,
) -> Option<&'static str> {
    let std = pair.starts_with("Command");
    let given = Given { std, case, key: &difference.key, ours, theirs };
    INTENDED.iter().find(|line| (line.holds)(&given)).map(|line| line.name)
}
