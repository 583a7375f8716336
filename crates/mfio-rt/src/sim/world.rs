//! The world: whose turn it is, what time it is, who is up.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    string::String,
    sync::Arc,
    task::Wake,
    vec,
    vec::Vec,
};
use core::{
    cell::RefCell,
    fmt,
    future::Future,
    mem,
    net::{IpAddr, Ipv4Addr},
    ops::Range,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use mfio::error::{Error, Result};

use super::Trace;
use crate::{
    sync::Mutex,
    virt::{Chance, Disk, HostId, Network, VirtRt},
};

/// Steps that take no time, in a row. A program that is busy for longer takes a [`MOMENT`] for them, so that what
/// waits for a point in time gets there beside one that never rests.
const BUSY: u32 = 10_000;
/// See [`BUSY`].
const MOMENT: Duration = Duration::from_millis(1);

type Work = Pin<Box<dyn Future<Output = ()>>>;
type Program = Box<dyn FnMut(Host) -> Work>;

/// A world of hosts: see the [module](super).
pub struct World {
    network: Arc<Network>,
    hosts: Vec<Place>,
    tasks: BTreeMap<TaskId, Task>,
    ready: Arc<Ready>,
    spawned: Rc<RefCell<Vec<(usize, Work)>>>,
    next_task: u64,
    chance: Chance,
    trace: Trace,
    now: Duration,
    steps: u32,
}

/// A host of a [`World`]. Clones are the same host.
#[derive(Clone)]
pub struct Host {
    inner: Rc<Inner>,
}

struct Inner {
    at: usize,
    name: String,
    addr: IpAddr,
    rt: RefCell<Arc<VirtRt>>,
    errors: RefCell<Vec<Error>>,
    spawned: Rc<RefCell<Vec<(usize, Work)>>>,
}

/// What the world has of a host.
struct Place {
    id: HostId,
    host: Host,
    program: Program,
    /// While it is down.
    disk: Option<Disk>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TaskId(u64);

struct Task {
    at: usize,
    what: What,
}

enum What {
    /// Drive the runtime of the host.
    Drive(Arc<VirtRt>),
    Program(Work),
}

/// The tasks that can go on.
struct Ready(Mutex<BTreeSet<TaskId>>);

struct TaskWaker {
    id: TaskId,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.0.lock().insert(self.id);
    }
}

impl Host {
    /// The runtime that it has since it was last started. One of before has ended.
    #[must_use]
    pub fn rt(&self) -> Arc<VirtRt> {
        Arc::clone(&self.inner.rt.borrow())
    }

    /// Its name, which is resolved on all hosts.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its address: `10.0.0.1` for the first host, and so on.
    #[must_use]
    pub fn addr(&self) -> IpAddr {
        self.inner.addr
    }

    /// Runs a task on it, until it crashes.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.inner.spawned.borrow_mut().push((self.inner.at, Box::pin(task)));
    }

    /// Errors that its program ended with, oldest first; from now on they are forgotten.
    #[must_use]
    pub fn take_errors(&self) -> Vec<Error> {
        self.inner.errors.take()
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Host").field(&self.inner.name).finish()
    }
}

impl World {
    /// A world without hosts, of which all that happens by chance follows from `seed`. Messages take 1 to 10 ms.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance::new(Some(seed));
        let network = Network::new(Some(chance.next()));
        network.set_delay(Duration::from_millis(1)..Duration::from_millis(10));
        Self {
            network,
            hosts: Vec::new(),
            tasks: BTreeMap::new(),
            ready: Arc::new(Ready(Mutex::new(BTreeSet::new()))),
            spawned: Rc::default(),
            next_task: 0,
            chance,
            trace: Trace::new(),
            now: Duration::ZERO,
            steps: 0,
        }
    }

    /// Adds a host, and starts it: `program` is called now, and again whenever the host is restarted. An error that it
    /// ends with is [kept](Host::take_errors).
    pub fn host<F, R>(&mut self, name: &str, mut program: F) -> Host
    where
        F: FnMut(Host) -> R + 'static,
        R: Future<Output = Result<()>> + 'static,
    {
        let at = self.hosts.len();
        // Past the last address there is, hosts share it: more than any machine holds.
        let number = u32::try_from(at + 1).unwrap_or(u32::MAX);
        let addr = IpAddr::V4(Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() | number));
        let id = self.network.add_host(name.into(), vec![addr], false);
        let rt = Arc::new(VirtRt::on_host(&self.network, id, None, self.chance.next()));
        let inner = Inner {
            at,
            name: name.into(),
            addr,
            rt: RefCell::new(Arc::clone(&rt)),
            errors: RefCell::default(),
            spawned: Rc::clone(&self.spawned),
        };
        let host = Host { inner: Rc::new(inner) };
        let program: Program = Box::new(move |host| {
            let work = program(host.clone());
            Box::pin(async move {
                if let Err(error) = work.await {
                    host.inner.errors.borrow_mut().push(error);
                }
            })
        });
        self.hosts.push(Place { id, host: host.clone(), program, disk: None });
        self.start(at, rt);
        host
    }

    /// Runs the program of a host that is up.
    fn start(&mut self, at: usize, rt: Arc<VirtRt>) {
        self.add(at, What::Drive(rt));
        if let Some(Place { host, program, .. }) = self.hosts.get_mut(at) {
            let work = program(host.clone());
            self.add(at, What::Program(work));
        }
    }

    fn add(&mut self, at: usize, what: What) {
        self.next_task += 1;
        let id = TaskId(self.next_task);
        self.tasks.insert(id, Task { at, what });
        self.ready.0.lock().insert(id);
    }

    /// Virtual time since the world began.
    #[must_use]
    pub const fn now(&self) -> Duration {
        self.now
    }

    /// A number below `end` (0 where that is 0), for the choices of the test itself.
    pub fn choose(&mut self, end: usize) -> usize {
        let chosen = self.chance.below(end);
        self.trace.add_len(chosen);
        chosen
    }

    /// One number for all that has happened.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        let mut trace = self.trace.clone();
        trace.add(self.network.trace());
        trace.hash()
    }

    /// Lets virtual time pass.
    pub fn run_for(&mut self, time: Duration) {
        let _never = self.run_until(time, || false);
    }

    /// Lets virtual time pass until `done` says so, or for as long as `most`. Says whether it was done. `done` is
    /// asked after each step of a task.
    pub fn run_until(&mut self, most: Duration, mut done: impl FnMut() -> bool) -> bool {
        let end = self.now.saturating_add(most);
        loop {
            while self.step() {
                if done() {
                    return true;
                }
                self.steps += 1;
                if self.steps > BUSY {
                    self.advance_to(self.now.saturating_add(MOMENT));
                }
            }
            if done() {
                return true;
            }
            if self.now >= end {
                return false;
            }
            self.advance_to(self.next_time().map_or(end, |next| next.min(end)));
        }
    }

    /// One task that can go on does.
    fn step(&mut self) -> bool {
        let spawned = mem::take(&mut *self.spawned.borrow_mut());
        for (at, work) in spawned {
            if self.is_up(at) {
                self.add(at, What::Program(work));
            }
        }
        let id = {
            let mut ready = self.ready.0.lock();
            let nth = self.chance.below(ready.len());
            let id = ready.iter().nth(nth).copied();
            id.inspect(|id| {
                ready.remove(id);
            })
        };
        let Some(id) = id else { return false };
        let Some(mut task) = self.tasks.remove(&id) else { return true };
        self.trace.add(id.0);
        let waker = Waker::from(Arc::new(TaskWaker { id, ready: Arc::clone(&self.ready) }));
        let mut cx = Context::from_waker(&waker);
        let polled = match &mut task.what {
            What::Drive(rt) => {
                let polled = rt.drive_once(&cx);
                self.trace.add(rt.metrics().completions);
                polled
            }
            What::Program(work) => work.as_mut().poll(&mut cx),
        };
        if polled == Poll::Pending {
            self.tasks.insert(id, task);
        }
        true
    }

    fn is_up(&self, at: usize) -> bool {
        self.hosts.get(at).is_some_and(|place| place.disk.is_none())
    }

    /// When the next thing happens.
    fn next_time(&self) -> Option<Duration> {
        let up = self.hosts.iter().filter(|place| place.disk.is_none());
        let timers = up.filter_map(|place| place.host.rt().until_next());
        let timers = timers.map(|left| self.now.saturating_add(left));
        timers.chain(self.network.next_arrival()).min()
    }

    fn advance_to(&mut self, now: Duration) {
        // A message that meets a cut is due all along, and goes nowhere.
        let now = now.max(self.now);
        let passed = now.saturating_sub(self.now);
        self.now = now;
        self.steps = 0;
        self.trace.add_duration(now);
        self.network.advance(now);
        for at in 0..self.hosts.len() {
            if self.is_up(at)
                && let Some(place) = self.hosts.get(at)
            {
                place.host.rt().advance(passed);
            }
        }
    }

    /// The power of a host fails: see the [module](super). Nothing, where it is down already.
    pub fn crash(&mut self, host: &Host) {
        let at = host.inner.at;
        if !self.is_up(at) {
            return;
        }
        let mut disk = host.rt().power_off();
        disk.crash(&mut self.chance);
        if let Some(place) = self.hosts.get_mut(at) {
            place.disk = Some(disk);
        }
        let gone: Vec<_> = self.tasks.extract_if(.., |_, task| task.at == at).collect();
        drop(gone);
        self.trace.add_len(at);
    }

    /// A host that crashed starts again, with what its disk has kept. Nothing, where it is up.
    pub fn restart(&mut self, host: &Host) {
        let at = host.inner.at;
        let Some(place) = self.hosts.get_mut(at) else { return };
        let Some(disk) = place.disk.take() else { return };
        let id = place.id;
        self.network.revive(id);
        let seed = self.chance.next();
        let rt = Arc::new(VirtRt::on_host(&self.network, id, Some(disk), seed));
        *host.inner.rt.borrow_mut() = Arc::clone(&rt);
        self.trace.add_len(at);
        self.start(at, rt);
    }

    /// Whether a host is up.
    #[must_use]
    pub fn is_running(&self, host: &Host) -> bool {
        self.is_up(host.inner.at)
    }

    /// Nothing gets from the one host to the other, nor back.
    pub fn cut(&self, one: &Host, other: &Host) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Nothing gets from the one host to the other.
    pub fn cut_one_way(&self, from: &Host, to: &Host) {
        if let Some((from, to)) = self.ids(from, to) {
            self.network.cut(from, to);
        }
    }

    /// Messages get from the one host to the other again, and back.
    pub fn heal(&self, one: &Host, other: &Host) {
        if let Some((one, other)) = self.ids(one, other) {
            self.network.heal(one, other);
            self.network.heal(other, one);
        }
    }

    /// Heals all cuts.
    pub fn heal_all(&self) {
        for one in &self.hosts {
            for other in &self.hosts {
                self.network.heal(one.id, other.id);
            }
        }
    }

    fn ids(&self, one: &Host, other: &Host) -> Option<(HostId, HostId)> {
        let id = |host: &Host| self.hosts.get(host.inner.at).map(|place| place.id);
        id(one).zip(id(other))
    }

    /// From now on messages between hosts take a time in this range, by chance.
    pub fn set_delay(&self, delay: Range<Duration>) {
        self.network.set_delay(delay);
    }

    /// From now on so many of a thousand messages between hosts are lost, and come later by 200 ms or more.
    pub fn set_loss(&self, of_a_thousand: usize) {
        self.network.set_loss(of_a_thousand);
    }

    /// The clock of a host jumps ahead of the others' by this much.
    pub fn jump_clock(&self, host: &Host, by: Duration) {
        host.rt().advance(by);
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("now", &self.now).finish_non_exhaustive()
    }
}
