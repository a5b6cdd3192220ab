//! Derives a case from a seed. A case consists of the state of the spawning process and the request.

use super::dump::NAME;
use super::libc;
use super::worker::OBJECTS;

/// The SplitMix64 generator.
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).expect("a small number");
        usize::try_from(self.next() % end).expect("less than the end")
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    /// Returns up to `most` distinct elements of the list.
    fn some<T: Clone + PartialEq>(&mut self, list: &[T], most: usize) -> Vec<T> {
        let mut chosen = Vec::new();
        for _ in 0..self.below(most + 1) {
            let one = self.pick(list);
            if !chosen.contains(&one) {
                chosen.push(one);
            }
        }
        chosen
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stream {
    Unset,
    Inherit,
    Null,
    Piped,
    /// The launcher's descriptor with this number.
    Fd(i32),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Clear,
    Set(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Group {
    Own,
    Parents,
    Missing,
}

/// A fault in the request. In each form that the fault affects, the spawn must fail before the search for the
/// program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// A path to which the child cannot change its directory.
    Folder,
    /// A string that contains a NUL byte.
    Nul,
    /// A variable without a name, or with `=` in its name.
    Name,
    /// A target number above the descriptor limit.
    Target,
    /// A process group that does not exist.
    Group,
    /// A user to which this process is not permitted to change.
    User,
    /// A source that is not open. Only [`Spawn`](rawpipe::process::Spawn) and `posix_spawn` accept such a
    /// source.
    Source,
}

#[derive(Clone)]
pub(crate) struct Case {
    // The launcher's state.
    /// The open descriptors. Each entry holds three values: an index into the worker's [`OBJECTS`] open
    /// files, the descriptor number, and the close-on-exec flag.
    pub(crate) objects: Vec<(usize, i32, bool)>,
    pub(crate) limit: i32,
    pub(crate) ignored: Vec<i32>,
    pub(crate) handled: Vec<i32>,
    pub(crate) blocked: Vec<i32>,
    pub(crate) mask: u32,
    pub(crate) environ: Vec<Vec<u8>>,
    /// True if the reference form runs before this crate's form.
    pub(crate) reference_first: bool,
    // The request.
    pub(crate) program: Vec<u8>,
    pub(crate) arg0: Option<Vec<u8>>,
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) changes: Vec<Change>,
    pub(crate) folder: Option<Vec<u8>>,
    pub(crate) streams: [Stream; 3],
    pub(crate) output: bool,
    pub(crate) map: Vec<(i32, i32)>,
    pub(crate) close_others: bool,
    pub(crate) session: bool,
    pub(crate) group: Option<Group>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) groups: Option<Vec<u32>>,
    pub(crate) umask: Option<u32>,
    pub(crate) nice: Option<i32>,
    pub(crate) limits: Vec<(u32, u64)>,
    pub(crate) death: Option<i32>,
    pub(crate) signal_mask: Option<Vec<i32>>,
    pub(crate) defaults: Option<Vec<i32>>,
    pub(crate) fault: Option<Fault>,
}

/// Returns signals that a process can ignore or handle. `SIGCHLD` is excluded, because ignoring it discards
/// the exit status.
fn signals() -> Vec<i32> {
    let real_time = libc::__libc_current_sigrtmin();
    let usual = (1..32).filter(|signal| ![9, 17, 19].contains(signal));
    usual.chain([real_time, real_time + 6, 64]).collect()
}

/// The user and group ids that a case can request. `nobody` is excluded, because other tests attack the
/// processes of that user.
const IDS: [u32; 3] = [61_234, 0, 1000];

const ODD: [&[u8]; 12] = [
    b"",
    b"a",
    b"two words",
    b"-",
    b"--help",
    b"\xff\xfe",
    b"\xc3\xa9",
    b"line\nline",
    b"\\x41",
    b"=",
    b"'\"$HOME`",
    b"\x01\x7f",
];

const FOLDERS: [&[u8]; 16] = [
    b"@/good",
    b"@/also",
    b"good",
    b"./also",
    b"@/empty",
    b"@/missing",
    b"@/file",
    b"@/noexec",
    b"@/folder",
    b"@/closed",
    b"@/unknown",
    b"@/badinterp",
    b"@/script",
    b"@/loop",
    b"",
    b"/",
];

/// Returns the text with each `@` replaced by the worker's directory.
pub(crate) fn placed(text: &[u8], base: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    text.iter().for_each(|byte| match byte {
        b'@' => all.extend_from_slice(base),
        byte => all.push(*byte),
    });
    all
}

fn shown(string: &[u8]) -> String {
    shortened(&string.escape_ascii().to_string())
}

/// Returns a copy of the text in which every word of more than 200 characters is shortened.
pub(crate) fn shortened(text: &str) -> String {
    let words =
        text.split_inclusive([':', ' ', '\n']).map(|word| match word.char_indices().nth(200) {
            Some((end, _)) => format!("{}[{} bytes]", &word[..end.min(20)], word.len()),
            None => word.to_owned(),
        });
    words.collect()
}

fn search_path(random: &mut Random, base: &[u8]) -> Vec<u8> {
    let mut path = Vec::new();
    for index in 0..=random.below(5) {
        if index > 0 {
            path.push(b':');
        }
        match random.below(60) {
            0 => path.extend(std::iter::repeat_n(b'x', 4090)),
            1 => path.extend(std::iter::repeat_n(b'x', 300)),
            // The first four directories contain the program, so a search of most paths finds the program.
            2..=15 => path.extend(placed(FOLDERS[random.below(4)], base)),
            _ => path.extend(placed(random.pick(&FOLDERS), base)),
        }
    }
    if random.below(3) > 0 {
        path.extend(placed(b":@/good", base));
    }
    path
}

/// Returns an environment in which every entry is a variable. The crate passes on an entry that is not a
/// variable only if the process was started with that entry. The launcher, however, sets its environment
/// after it has started.
fn environ(random: &mut Random, base: &[u8]) -> Vec<Vec<u8>> {
    const ENTRIES: [&[u8]; 12] = [
        b"A=1",
        b"A=2",
        b"B=",
        b"C=x=y",
        b"==",
        b"D=\xff\xfe",
        b"HOME=/",
        b"=a=b",
        b"LANG=C",
        b"PATHS=none",
        b"NOEQ=1",
        b"Z=\n",
    ];
    let mut all = Vec::new();
    for _ in 0..random.below(8) {
        all.push(random.pick(&ENTRIES).to_vec());
    }
    for _ in 0..[1, 1, 1, 1, 1, 1, 2, 0][random.below(8)] {
        let place = random.below(all.len() + 1);
        all.insert(place, [b"PATH=".as_slice(), &search_path(random, base)].concat());
    }
    all
}

impl Case {
    /// Derives a case from a seed. `base` is the worker's directory.
    pub(crate) fn new(seed: u64, base: &[u8]) -> Self {
        let random = &mut Random(seed);
        let root = libc::geteuid() == 0;
        let signals = signals();
        let limit = random.pick(&[64, 128, 256]);
        let mut objects: Vec<(usize, i32, bool)> = Vec::new();
        for number in 0..3 {
            objects.push((random.below(OBJECTS), number, false));
        }
        for _ in 0..random.below(9) {
            let high = random.one_in(5);
            let number = 3 + random.below(if high { 61 } else { 12 });
            let number = i32::try_from(number).expect("a small number");
            if objects.iter().all(|(_, other, _)| *other != number) {
                objects.push((random.below(OBJECTS), number, random.one_in(2)));
            }
        }
        let closing = random.one_in(3);
        let closed = [(); 3].map(|()| closing && random.one_in(2));
        objects.retain(|(_, number, _)| {
            usize::try_from(*number).ok().and_then(|index| closed.get(index)) != Some(&true)
        });
        let mut case = Self {
            objects,
            limit,
            ignored: Vec::new(),
            handled: Vec::new(),
            blocked: Vec::new(),
            mask: random.pick(&[0o022, 0o077, 0, 0o777, 0o137]),
            environ: environ(random, base),
            reference_first: random.one_in(2),
            program: NAME.as_bytes().to_vec(),
            arg0: None,
            args: Vec::new(),
            changes: Vec::new(),
            folder: None,
            streams: [const { Stream::Unset }; 3],
            output: random.one_in(6),
            map: Vec::new(),
            close_others: random.one_in(6),
            session: false,
            group: None,
            uid: None,
            gid: None,
            groups: None,
            umask: random.one_in(5).then(|| random.pick(&[0, 0o027, 0o777])),
            nice: random.one_in(8).then(|| random.pick(&[0, 1, 3])),
            limits: Vec::new(),
            death: random.one_in(8).then(|| random.pick(&[9, 15, 10])),
            signal_mask: None,
            defaults: None,
            fault: None,
        };
        if random.one_in(2) {
            case.ignored = random.some(&signals, 5);
            case.handled = random.some(&signals, 5);
            case.handled.retain(|signal| !case.ignored.contains(signal));
            case.blocked = random.some(&signals, 6);
            if random.one_in(8) {
                case.blocked = (1..65).collect();
            }
        }
        if random.one_in(4) {
            case.signal_mask = Some(random.some(&signals, 5));
        }
        if random.one_in(4) {
            case.defaults = Some(random.some(&signals, 5));
        }
        case.ask_for_program(random, base);
        case.ask_for_descriptors(random);
        match random.below(10) {
            0 => case.session = true,
            1 => case.group = Some(Group::Own),
            2 => case.group = Some(Group::Parents),
            _ => {}
        }
        if random.one_in(6) {
            case.folder =
                Some(placed(random.pick(&[b"@/good".as_slice(), b"also", b".", b"/"]), base));
        }
        if root && random.one_in(6) {
            case.uid = random.one_in(2).then(|| random.pick(&IDS));
            case.gid = random.one_in(2).then(|| random.pick(&IDS));
            case.groups = random.one_in(3).then(|| random.some(&[1, 2, 3, 61_234], 3));
        }
        if random.one_in(8) {
            // The limits are `CPU`, `STACK`, `CORE` and `LOCKS`. Their numbers are the same on every
            // architecture, and the program can run with the values below.
            case.limits = random.some(&[(0, 1000), (3, 4 << 20), (4, 0), (10, 7)], 3);
            case.limits.dedup_by_key(|limit| limit.0);
        }
        if random.one_in(8) {
            case.go_wrong(random, base, root);
        }
        case
    }

    fn ask_for_program(&mut self, random: &mut Random, base: &[u8]) {
        const PLACES: [&[u8]; 15] = [
            b"@/good/&",
            b"good/&",
            b"./also/&",
            b"@/script/&",
            b"script/&",
            b"@/noexec/&",
            b"@/unknown/&",
            b"@/badinterp/&",
            b"@/folder/&",
            b"@/closed/&",
            b"@/file/&",
            b"@/missing/&",
            b"",
            b"missing",
            b"@/loop/&",
        ];
        if random.one_in(3) {
            let places = if random.one_in(2) { &PLACES[..5] } else { &PLACES[..] };
            let place = placed(random.pick(places), base);
            self.program.clear();
            for byte in place {
                match byte {
                    b'&' => self.program.extend_from_slice(NAME.as_bytes()),
                    byte => self.program.push(byte),
                }
            }
        }
        if random.one_in(40) {
            self.program = vec![b'n'; 300];
        }
        self.arg0 = random.one_in(4).then(|| random.pick(&ODD).to_vec());
        for _ in 0..random.below(5) {
            self.args.push(random.pick(&ODD).to_vec());
        }
        if random.one_in(100) {
            self.args.push(vec![b'x'; 200_000]); // longer than the kernel permits for one argument
        }
        const NAMES: [&[u8]; 9] =
            [b"A", b"B", b"NOEQ", b"NEW", b"D", b"=odd", b"Z", b"\xff", b"=a"];
        if random.one_in(2) {
            for _ in 0..random.below(5) {
                let name = random.pick(&NAMES).to_vec();
                let change = match random.below(8) {
                    0 => Change::Clear,
                    1 | 2 => Change::Remove(name),
                    3 => Change::Set(b"PATH".to_vec(), search_path(random, base)),
                    4 if random.one_in(3) => Change::Remove(b"PATH".to_vec()),
                    _ => Change::Set(name, random.pick(&ODD).to_vec()),
                };
                self.changes.push(change);
            }
        }
    }

    fn ask_for_descriptors(&mut self, random: &mut Random) {
        let open: Vec<i32> = self.objects.iter().map(|(_, number, _)| *number).collect();
        if random.one_in(2) {
            for stream in &mut self.streams {
                *stream = match random.below(6) {
                    0 => Stream::Inherit,
                    1 => Stream::Null,
                    2 => Stream::Piped,
                    3 if !open.is_empty() => Stream::Fd(random.pick(&open)),
                    _ => Stream::Unset,
                };
            }
        }
        if open.is_empty() || random.one_in(2) {
            return;
        }
        let mut targets: Vec<i32> = (3..13).chain([self.limit - 1, self.limit - 2]).collect();
        targets.extend(open.iter().filter(|number| **number > 2));
        for (number, stream) in (0..).zip(&self.streams) {
            if *stream == Stream::Unset {
                targets.extend([number; 3]);
            }
        }
        for _ in 0..=random.below(6) {
            let step = (random.pick(&open), random.pick(&targets));
            if self.map.iter().all(|(_, to)| *to != step.1) {
                self.map.push(step);
            }
        }
        // Some mappings are cycles.
        if random.one_in(3) && self.map.len() > 1 {
            let inner: Vec<i32> = open.iter().copied().filter(|number| *number > 2).collect();
            if inner.len() > 1 {
                self.map = (0..inner.len())
                    .map(|index| (inner[index], inner[(index + 1) % inner.len()]))
                    .collect();
            }
        }
    }

    fn go_wrong(&mut self, random: &mut Random, base: &[u8], root: bool) {
        use Fault::{Folder, Group as NoGroup, Name, Nul, Source, Target, User};
        let fault = random.pick(&[Folder, Nul, Name, Target, NoGroup, Source, User]);
        match fault {
            Folder => {
                let folders: [&[u8]; 5] = [b"@/missing", b"@/file", b"@/loop", b"", b"@/file/x"];
                self.folder = Some(placed(random.pick(&folders), base));
            }
            Nul => match random.below(5) {
                0 => self.args.push(b"with\0in".to_vec()),
                1 => self.program.push(0),
                2 => self.arg0 = Some(b"\0".to_vec()),
                3 => self.folder = Some(b"/\0".to_vec()),
                _ => self.changes.push(Change::Set(b"N".to_vec(), b"a\0b".to_vec())),
            },
            Name => {
                let name = random.pick(&[b"".as_slice(), b"a=b", b"=a=", b"x="]).to_vec();
                self.changes.push(Change::Set(name, b"value".to_vec()));
            }
            Target => match self.objects.first() {
                Some((_, number, _)) => self.map.push((*number, self.limit + 3)),
                None => return,
            },
            NoGroup => {
                self.session = false;
                self.group = Some(Group::Missing);
            }
            User if root => return,
            User => self.uid = Some(0),
            Source => {
                let used = |number: &i32| {
                    self.is_open(*number) || self.map.iter().any(|(_, to)| to == number)
                };
                let mut free = (14..self.limit).filter(|number| !used(number));
                // The source is the highest free number, because a mapping may use low numbers for its
                // temporary copies.
                let (Some(to), Some(from)) = (free.next(), free.next_back()) else { return };
                self.map.push((from, to));
            }
        }
        self.fault = Some(fault);
    }

    /// Returns a description of the case, which is printed with a difference.
    pub(crate) fn describe(&self) -> String {
        let list =
            |strings: &[Vec<u8>]| strings.iter().map(|string| shown(string)).collect::<Vec<_>>();
        let optional = |string: &Option<Vec<u8>>| string.as_deref().map(shown);
        let changes = self.changes.iter().map(|change| match change {
            Change::Clear => String::from("clear"),
            Change::Set(name, value) => format!("set {} to {}", shown(name), shown(value)),
            Change::Remove(name) => format!("remove {}", shown(name)),
        });
        let changes: Vec<_> = changes.collect();
        format!(
            "state: open {:?}, limit {}, ignored {:?}, handled {:?}, blocked {:?}, umask {:o}, \
             reference first {}\n  environ {:?}\n\
             request: program {:?}, arg0 {:?}, args {:?}, folder {:?}\n  changes {changes:?}\n  \
             streams {:?}, output {}, map {:?}, close others {}, session {}, group {:?}, \
             ids {:?} {:?} {:?}, umask {:?}, nice {:?}, limits {:?}, death {:?}, mask {:?}, \
             defaults {:?}, fault {:?}",
            self.objects,
            self.limit,
            self.ignored,
            self.handled,
            self.blocked,
            self.mask,
            self.reference_first,
            list(&self.environ),
            shown(&self.program),
            optional(&self.arg0),
            list(&self.args),
            optional(&self.folder),
            self.streams,
            self.output,
            self.map,
            self.close_others,
            self.session,
            self.group,
            self.uid,
            self.gid,
            self.groups,
            self.umask,
            self.nice,
            self.limits,
            self.death,
            self.signal_mask,
            self.defaults,
            self.fault,
        )
    }

    /// Returns the fault if it applies to both `Command` types.
    pub(crate) fn commands_fault(&self) -> Option<Fault> {
        self.fault.filter(|fault| *fault != Fault::Source)
    }

    /// Returns the fault if it applies to `Spawn` and `posix_spawn`.
    pub(crate) fn spawns_fault(&self) -> Option<Fault> {
        self.fault.filter(|fault| !matches!(fault, Fault::Nul | Fault::Name | Fault::User))
    }

    pub(crate) fn is_open(&self, number: i32) -> bool {
        self.objects.iter().any(|(_, other, _)| *other == number)
    }

    /// Returns the entries of the mapping that have open sources. Both `Command` types receive only these
    /// entries.
    pub(crate) fn command_map(&self) -> Vec<(i32, i32)> {
        self.map.iter().copied().filter(|(from, _)| self.is_open(*from)).collect()
    }

    /// Returns a mapping as a list of steps for `dup2`. If a target would overwrite the source of a step,
    /// that step also contains a free number for a temporary copy.
    pub(crate) fn detours(&self, map: &[(i32, i32)]) -> Vec<(i32, i32, Option<i32>)> {
        let mut free = (3..self.limit).rev().filter(|number| {
            !libc::is_open(*number) && map.iter().all(|(from, to)| from != number && to != number)
        });
        let mut steps = Vec::new();
        for (from, to) in map {
            let overwritten = from != to && map.iter().any(|(_, other)| other == from);
            let by = if overwritten { Some(free.next().expect("a free number")) } else { None };
            steps.push((*from, *to, by));
        }
        steps
    }

    /// Returns the requested environment, which is the launcher's environment with the changes applied.
    pub(crate) fn envp(&self) -> Vec<Vec<u8>> {
        let mut all = self.environ.clone();
        let name_of = |entry: &[u8]| {
            let end = entry.iter().skip(1).position(|byte| *byte == b'=');
            end.map(|end| entry[..=end].to_vec())
        };
        for change in &self.changes {
            match change {
                Change::Clear => all.clear(),
                Change::Set(name, value) => {
                    all.retain(|entry| name_of(entry).as_deref() != Some(name));
                    all.push([name.as_slice(), b"=", value].concat());
                }
                Change::Remove(name) => {
                    all.retain(|entry| name_of(entry).as_deref() != Some(name));
                }
            }
        }
        all
    }
}
