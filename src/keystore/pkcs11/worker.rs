//! A thread that talks to one token. Calls into a module cannot be broken off, so whoever asked stops waiting instead.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::Place;
use super::token::{Token, shown};
use crate::keystore::Error;

/// How long an end waits for the sessions to be closed.
const CLOSING: Duration = Duration::from_secs(1);

/// The token's thread, started with the first call.
pub(super) struct Worker {
    place: Place,
    /// One call at a time: those who wait for their turn do not use up their time.
    thread: Mutex<Option<Thread>>,
    /// Whether a call is under way, be it that nobody waits for it any more.
    busy: Arc<AtomicBool>,
}

/// Says that no call is under way when it is dropped, also by a panic.
struct Idle(Arc<AtomicBool>);

impl Drop for Idle {
    fn drop(&mut self) {
        self.0.store(false, SeqCst);
    }
}

/// Something to do with the token, which sends its own result.
struct Call(Box<dyn FnOnce(&mut Token) + Send>);

struct Thread {
    calls: Sender<Call>,
    /// Says that the thread is at its end, by closing.
    ended: Receiver<()>,
}

impl Worker {
    pub(super) fn new(place: Place) -> Self {
        Self { place, thread: Mutex::default(), busy: Arc::default() }
    }

    /// Does something with the token.
    ///
    /// # Errors
    /// Those of the call, and [`Error::Device`] where it does not end in time.
    pub(super) fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Token) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let failed = |message: String| Error::Device { name: shown(&self.place), message };
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if self.busy.swap(true, SeqCst) {
            return Err(failed("it still has not answered an earlier call".to_owned()));
        }
        let (sender, receiver) = channel();
        let idle = Idle(Arc::clone(&self.busy));
        let call = Call(Box::new(move |token: &mut Token| {
            let result = call(token);
            drop(idle);
            // Nobody listens once the deadline is over.
            let _ = sender.send(result);
        }));
        let running = thread.get_or_insert_with(|| start(self.place.clone()));
        let sent = running.calls.send(call);
        match sent.map_or(Err(RecvTimeoutError::Disconnected), |()| receiver.recv_timeout(self.place.deadline)) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                Err(failed(format!("it did not answer within {} s", self.place.deadline.as_secs())))
            }
            Err(RecvTimeoutError::Disconnected) => {
                *thread = None;
                Err(failed("the thread that talks to it broke off".to_owned()))
            }
        }
    }
}

fn start(place: Place) -> Thread {
    let (calls, incoming) = channel::<Call>();
    let (alive, ended) = channel();
    thread::spawn(move || {
        let _alive = alive;
        let mut token = Token::new(place);
        for Call(call) in incoming {
            call(&mut token);
        }
    });
    Thread { calls, ended }
}

impl Drop for Worker {
    /// Sessions are closed before the process ends: a module that is talked to while it is taken down may crash.
    fn drop(&mut self) {
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Thread { calls, ended }) = thread {
            drop(calls);
            if !self.busy.load(SeqCst) {
                let _ = ended.recv_timeout(CLOSING);
            }
        }
    }
}
