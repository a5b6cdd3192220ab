//! The model, which predicts the state of the child or the reason why the start fails.

use super::report::Report;
use super::world::{World, descriptors};
use rawpipe::Errno;
use rawpipe::fd::AsRawFd;
use rawpipe::process::{Child, DEFAULT_PATH, Resource, Rlimit, SpawnStage};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

const O_ACCMODE: u32 = 3;
const O_CLOEXEC: u32 = 0o2_000_000;

/// The open file and the flags of a descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) identity: String,
    pub(crate) flags: u32,
}

impl Seen {
    pub(crate) fn of(fd: &impl AsRawFd) -> Self {
        Self::at(fd.as_raw_fd())
    }

    fn at(number: i32) -> Self {
        let file = fs::metadata(format!("/proc/self/fd/{number}")).unwrap();
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let flags = u32::from_str_radix(flags, 8).unwrap();
        Self { identity: format!("{}:{}", file.dev(), file.ino()), flags }
    }

    fn kept_by_exec(mut self) -> Self {
        self.flags &= !O_CLOEXEC;
        self
    }
}

pub(crate) enum Stream {
    Inherit,
    Null,
    Piped,
    Fd(Seen),
}

pub(crate) struct Model {
    program: Vec<u8>,
    pub(crate) invalid: bool,
    pub(crate) arg0: Option<Vec<u8>>,
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) variables: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) streams: [Stream; 3],
    /// The number in this process, the file, and the number in the child, for each mapping.
    pub(crate) maps: Vec<(i32, Seen, i32)>,
    pub(crate) close_others: bool,
    pub(crate) session: bool,
    pub(crate) group: Option<i32>,
    pub(crate) nice: i32,
    pub(crate) limits: Vec<(Resource, Rlimit)>,
    pub(crate) groups: Option<Vec<u32>>,
    pub(crate) gid: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) umask: Option<u32>,
    pub(crate) death_signal: i32,
    pub(crate) mask: u64,
    pub(crate) defaults: u64,
    pub(crate) needs_group: bool,
    /// The descriptors that the child inherits without a mapping.
    inherited: BTreeMap<i32, Seen>,
    ours: Ours,
    /// The pipes whose other ends this process holds.
    piped: [Option<String>; 3],
}

/// The state of this process that the child inherits.
struct Ours {
    ignored: u64,
    umask: u32,
    ids: [u32; 2],
    groups: Vec<u32>,
    nice: i32,
    session: i32,
}

impl Ours {
    fn get() -> Self {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let find = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let (_, stat) = stat.rsplit_once(") ").unwrap();
        let field = |number: usize| stat.split(' ').nth(number - 3).unwrap().parse().unwrap();
        Self {
            ignored: u64::from_str_radix(&find("SigIgn:")[0], 16).unwrap(),
            umask: u32::from_str_radix(&find("Umask:")[0], 8).unwrap(),
            ids: [find("Uid:")[0].parse().unwrap(), find("Gid:")[0].parse().unwrap()],
            groups: find("Groups:").iter().map(|group| group.parse().unwrap()).collect(),
            nice: field(19),
            session: field(6),
        }
    }
}

impl Model {
    pub(crate) fn new(program: Vec<u8>, invalid: bool) -> Self {
        let variables = std::env::vars_os()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        Self {
            program,
            invalid,
            arg0: None,
            args: Vec::new(),
            variables: variables.collect(),
            folder: None,
            streams: [Stream::Inherit, Stream::Inherit, Stream::Inherit],
            maps: Vec::new(),
            close_others: false,
            session: false,
            group: None,
            nice: 0,
            limits: Vec::new(),
            groups: None,
            gid: None,
            uid: None,
            umask: None,
            death_signal: 0,
            mask: 0,
            defaults: 1 << (13 - 1), // SIGPIPE
            needs_group: false,
            inherited: BTreeMap::new(),
            ours: Ours::get(),
            piped: [None, None, None],
        }
    }

    /// Records the descriptors that are open in this process immediately before the start.
    pub(crate) fn inherit(&mut self) {
        let all = descriptors().into_keys().map(|number| (number, Seen::at(number)));
        self.inherited = all.filter(|(_, seen)| seen.flags & O_CLOEXEC == 0).collect();
    }

    /// Returns the mapped numbers in the child, each with its number in this process if that number is known.
    fn targets(&self) -> Vec<(Option<i32>, i32)> {
        let streams = (0..).zip(&self.streams);
        let set = streams.filter(|(_, stream)| !matches!(stream, Stream::Inherit));
        let mut all: Vec<_> = set.map(|(number, _)| (None, number)).collect();
        all.extend(self.maps.iter().map(|(from, _, to)| (Some(*from), *to)));
        all.sort_by_key(|(_, to)| *to);
        all
    }

    /// Returns every stage and error with which the start may fail, or `None` if the start must succeed.
    pub(crate) fn failure(&self, world: &World) -> Option<Vec<(SpawnStage, Errno)>> {
        let leads = self.session || self.group == Some(0);
        let targets = self.targets();
        let twice = targets.windows(2).any(|pair| pair[0].1 == pair[1].1);
        let negative = targets.iter().any(|(_, to)| *to < 0);
        let ids = [self.uid, self.gid].into_iter().flatten();
        let no_id = ids.chain(self.groups.iter().flatten().copied()).any(|id| id == u32::MAX);
        let bad_group = self.group.is_some_and(|group| group < 0);
        if self.invalid || self.needs_group && !leads || twice || negative || no_id || bad_group {
            return Some(vec![(SpawnStage::Arguments, Errno::EINVAL)]);
        }
        if self.session && self.group.is_some_and(|group| group != 0) {
            return Some(vec![(SpawnStage::Setpgid, Errno::EPERM)]);
        }
        if let Some(failures) = Self::failure_of_descriptors(world, &targets) {
            return Some(failures);
        }
        for (resource, limit) in &self.limits {
            if limit.soft > limit.hard {
                return Some(vec![(SpawnStage::Setrlimit(*resource), Errno::EINVAL)]);
            }
        }
        let here = match &self.folder {
            None => PathBuf::from("."),
            Some(folder) => match fs::metadata(folder) {
                Err(error) => return Some(vec![(SpawnStage::Chdir, errno(&error))]),
                Ok(file) if !file.is_dir() => {
                    return Some(vec![(SpawnStage::Chdir, Errno::ENOTDIR)]);
                }
                Ok(_) => folder.clone(),
            },
        };
        self.executable(&here).err().map(|errno| vec![(SpawnStage::Exec, errno)])
    }

    /// Returns the failure that the lowest target number at or above the limit causes, or `None`.
    fn failure_of_descriptors(
        world: &World,
        targets: &[(Option<i32>, i32)],
    ) -> Option<Vec<(SpawnStage, Errno)>> {
        let (from, to) = targets.iter().find(|(_, to)| *to >= world.limit)?;
        // Only streams have no known number, and their targets are below every limit.
        Some(vec![(SpawnStage::Dup { from: (*from)?, to: *to }, Errno::EBADF)])
    }

    /// Returns the path of the program that a search from this directory must find.
    fn executable(&self, here: &Path) -> Result<PathBuf, Errno> {
        if self.program.is_empty() {
            return Err(Errno::ENOENT);
        }
        if self.program.contains(&b'/') {
            return executable_at(&here.join(OsStr::from_bytes(&self.program)));
        }
        let path = self.variables.get(&b"PATH"[..]).map_or(DEFAULT_PATH, Vec::as_slice);
        let mut result = Errno::ENOENT;
        for folder in path.split(|&byte| byte == b':') {
            let folder = here.join(OsStr::from_bytes(folder));
            match executable_at(&folder.join(OsStr::from_bytes(&self.program))) {
                Err(Errno::EACCES) => result = Errno::EACCES,
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                found => return found,
            }
        }
        Err(result)
    }

    /// Records the pipe ends that this process holds after the start.
    pub(crate) fn check_ends(&mut self, child: &Child) {
        let identity = |fd: Option<i32>| fd.map(|number| Seen::at(number).identity);
        self.piped = [
            identity(child.stdin_ref().map(AsRawFd::as_raw_fd)),
            identity(child.stdout_ref().map(AsRawFd::as_raw_fd)),
            identity(child.stderr_ref().map(AsRawFd::as_raw_fd)),
        ];
        for (end, stream) in self.piped.iter().zip(&self.streams) {
            assert_eq!(end.is_some(), matches!(stream, Stream::Piped));
        }
    }

    pub(crate) fn check(&self, world: &World, report: &Report, pid: u32) {
        let mut arguments = vec![self.arg0.clone().unwrap_or_else(|| self.program.clone())];
        arguments.extend(self.args.iter().cloned());
        assert_eq!(report.strings("cmdline"), arguments);

        let mut found = if self.variables.is_empty() {
            assert_eq!(report.line_or_empty("environ"), "");
            Vec::new()
        } else {
            report.strings("environ")
        };
        found.sort();
        let join = |(name, value): (&Vec<u8>, &Vec<u8>)| [name, &b"="[..], value].concat();
        let mut variables: Vec<_> = self.variables.iter().map(join).collect();
        variables.sort();
        assert_eq!(found, variables);

        let here = self.folder.clone().unwrap_or_else(|| PathBuf::from("."));
        let folder = fs::metadata(&here).unwrap();
        assert_eq!(report.line("cwd"), format!("{}:{}", folder.dev(), folder.ino()));
        let program = fs::canonicalize(self.executable(&here).unwrap()).unwrap();
        assert_eq!(report.line("exe").as_bytes(), program.as_os_str().as_bytes());

        self.check_descriptors(report);
        self.check_process(world, report, pid);
        self.check_ids(report);
        self.check_limits(report);

        // The kernel does not block SIGKILL and SIGSTOP.
        assert_eq!(report.signals("SigBlk"), self.mask & !(1 << (9 - 1)) & !(1 << (19 - 1)));
        assert_eq!(report.signals("SigIgn"), self.ours.ignored & !self.defaults);
        assert_eq!(report.signals("SigCgt"), 0);
        assert_eq!(report.line("pdeathsig"), format!("0 {}", self.death_signal));
    }

    fn check_descriptors(&self, report: &Report) {
        let mut expected = self.inherited.clone();
        let maps = self.maps.iter().map(|(_, seen, to)| (*to, seen));
        let mut kept: Vec<i32> = maps.clone().map(|(to, _)| to).collect();
        kept.extend(0..=2);
        if self.close_others {
            expected.retain(|number, _| kept.contains(number));
        }
        let mut found = report.descriptors();
        for (number, stream) in (0..).zip(&self.streams) {
            let there = found.get(&number);
            let access = if number == 0 { 0 } else { 1 };
            match stream {
                Stream::Inherit => continue,
                Stream::Fd(seen) => {
                    expected.insert(number, seen.clone().kept_by_exec());
                    continue;
                }
                Stream::Null => {
                    let null = fs::metadata("/dev/null").unwrap();
                    assert!(null.file_type().is_char_device());
                    let identity = format!("{}:{}", null.dev(), null.ino());
                    assert_eq!(there.map(|seen| &seen.identity), Some(&identity));
                }
                Stream::Piped => {
                    let index = usize::try_from(number).unwrap();
                    assert_eq!(there.map(|seen| &seen.identity), self.piped[index].as_ref());
                }
            }
            let flags = there.unwrap().flags;
            assert_eq!((flags & O_ACCMODE, flags & O_CLOEXEC), (access, 0));
            // The assertions above have compared this descriptor.
            found.remove(&number);
            expected.remove(&number);
        }
        for (to, seen) in maps {
            expected.insert(to, seen.clone().kept_by_exec());
        }
        assert_eq!(found, expected);
    }

    fn check_process(&self, world: &World, report: &Report, pid: u32) {
        let pid = i64::from(pid);
        let group = match (self.session, self.group) {
            (true, _) | (_, Some(0)) => pid,
            _ => world.group.into(),
        };
        let session = if self.session { pid } else { self.ours.session.into() };
        assert_eq!((report.stat(5), report.stat(6)), (group, session));
        assert_eq!(report.stat(4), std::process::id().into());
        assert_eq!(report.stat(19), (self.ours.nice + self.nice).min(19).into());
        let umask = u32::from_str_radix(report.status("Umask")[0], 8).unwrap();
        assert_eq!(umask, self.umask.unwrap_or(self.ours.umask));
    }

    fn check_ids(&self, report: &Report) {
        let [uid, gid] = self.ours.ids;
        let four = |id: u32| vec![id.to_string(); 4];
        assert_eq!(report.status("Uid"), four(self.uid.unwrap_or(uid)));
        assert_eq!(report.status("Gid"), four(self.gid.unwrap_or(gid)));
        let mut groups = match (&self.groups, self.uid) {
            (Some(groups), _) => groups.clone(),
            (None, Some(_)) => Vec::new(),
            (None, None) => self.ours.groups.clone(),
        };
        groups.sort_unstable();
        let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
        assert_eq!(report.status("Groups"), groups);
    }

    fn check_limits(&self, report: &Report) {
        // Only the last limit of each resource applies.
        for (index, (resource, limit)) in self.limits.iter().enumerate() {
            if self.limits[index + 1..].iter().any(|(later, _)| later == resource) {
                continue;
            }
            let name = match *resource {
                Resource::CORE => "Max core file size",
                Resource::LOCKS => "Max file locks",
                Resource::MSGQUEUE => "Max msgqueue size",
                Resource::RSS => "Max resident set",
                Resource::SIGPENDING => "Max pending signals",
                _ => "Max realtime timeout",
            };
            let words = [limit.soft.to_string(), limit.hard.to_string()];
            assert_eq!(report.limit(name)[..2], words);
        }
    }
}

fn executable_at(place: &Path) -> Result<PathBuf, Errno> {
    match fs::metadata(place) {
        Err(error) => Err(errno(&error)),
        Ok(file) if file.is_dir() || file.mode() & 0o111 == 0 => Err(Errno::EACCES),
        Ok(_) => Ok(place.to_owned()),
    }
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap()
}
