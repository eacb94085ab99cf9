//! Memory that ends with the process: for `--stateless`, where somebody chose to remember nothing, and for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use super::file_name::FileName;
use super::lock::LOCK_WAIT;
use super::marks::Marks;
use super::{Error, HeadMark, Memory, Store};
use crate::image::ImageName;

/// Memory of many collections, kept in the process. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    lock_wait: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    /// None while a handle has it, so that a second handle waits.
    cells: Mutex<BTreeMap<ImageName, Option<Cell>>>,
    returned: Condvar,
}

#[derive(Debug, Clone)]
struct Cell {
    files: BTreeMap<String, Bytes>,
    marks: Marks,
    written: bool,
}

impl MemoryStore {
    /// An empty memory.
    pub fn new() -> Self {
        Self { shared: Arc::default(), lock_wait: LOCK_WAIT }
    }

    /// The same memory that waits `wait` for another handle instead of 30 seconds.
    pub fn with_lock_wait(mut self, wait: Duration) -> Self {
        self.lock_wait = wait;
        self
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    /// A panic elsewhere leaves whole cells, so poison says nothing.
    fn cells(&self) -> MutexGuard<'_, BTreeMap<ImageName, Option<Cell>>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn open(&self, collection: &ImageName) -> Result<Box<dyn Memory>, Error> {
        let held = |cells: &mut BTreeMap<ImageName, Option<Cell>>| cells.get(collection).is_some_and(Option::is_none);
        let (mut cells, waited) = self
            .shared
            .returned
            .wait_timeout_while(self.shared.cells(), self.lock_wait, |cells| held(cells))
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(Error::Locked { path: collection.to_string() });
        }
        let fresh = || Cell { files: BTreeMap::new(), marks: Marks::new(collection), written: false };
        let cell = cells.insert(collection.clone(), None).flatten().unwrap_or_else(fresh);
        Ok(Box::new(Handle { shared: Arc::clone(&self.shared), collection: collection.clone(), cell }))
    }

    fn collections(&self) -> Result<Vec<ImageName>, Error> {
        let cells = self.shared.cells();
        // A handle in use counts as remembered: it is about to be.
        let remembered = cells.iter().filter(|(_, cell)| cell.as_ref().is_none_or(|cell| cell.written));
        Ok(remembered.map(|(name, _)| name.clone()).collect())
    }
}

/// The memory of one collection, taken out of the store until it is dropped.
struct Handle {
    shared: Arc<Shared>,
    collection: ImageName,
    cell: Cell,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.cells().insert(self.collection.clone(), Some(self.cell.clone()));
        self.shared.returned.notify_all();
    }
}

fn checked(file: &str) -> Result<FileName<'_>, Error> {
    // The name that the folder keeps for itself is refused here too, so that both behave alike.
    if file == "marks.json" {
        let message = "it is no name of a metadata file".to_owned();
        return Err(Error::Damaged { path: file.to_owned(), message });
    }
    FileName::new(file)
}

impl Memory for Handle {
    fn files(&self) -> Result<Vec<String>, Error> {
        Ok(self.cell.files.keys().cloned().collect())
    }

    fn read(&self, file: &str) -> Result<Option<Bytes>, Error> {
        Ok(self.cell.files.get(checked(file)?.as_str()).cloned())
    }

    fn write(&mut self, file: &str, bytes: &[u8]) -> Result<(), Error> {
        let name = checked(file)?.as_str().to_owned();
        self.cell.files.insert(name, Bytes::copy_from_slice(bytes));
        self.cell.written = true;
        Ok(())
    }

    fn remove(&mut self, file: &str) -> Result<(), Error> {
        self.cell.files.remove(checked(file)?.as_str());
        Ok(())
    }

    fn head(&self, location: &str) -> Result<Option<HeadMark>, Error> {
        Ok(self.cell.marks.head(location))
    }

    fn set_head(&mut self, location: &str, mark: Option<&HeadMark>) -> Result<(), Error> {
        self.cell.written |= self.cell.marks.set_head(location, mark);
        Ok(())
    }

    fn latest_time(&self) -> Result<Option<Timestamp>, Error> {
        Ok(self.cell.marks.latest_time())
    }

    fn set_latest_time(&mut self, time: Timestamp) -> Result<(), Error> {
        self.cell.written |= self.cell.marks.see_time(time);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite;

    fn store() -> MemoryStore {
        MemoryStore::new().with_lock_wait(Duration::from_millis(60))
    }

    #[test]
    fn memory_in_the_process_behaves_as_the_port_promises() {
        suite::behaves(&store());
    }

    #[test]
    fn clones_share_what_is_stored() {
        let store = store();
        suite::outlives(&|| Box::new(store.clone()));
    }

    #[test]
    fn a_waiting_handle_gets_its_turn() {
        let store = MemoryStore::new();
        let name: ImageName = "a.example/b".parse().unwrap();
        let mut first = store.open(&name).unwrap();
        first.write("timestamp.json", b"1").unwrap();
        let waiting = std::thread::spawn({
            let store = store.clone();
            let name = name.clone();
            move || store.open(&name).unwrap().read("timestamp.json").unwrap()
        });
        drop(first);
        assert_eq!(waiting.join().unwrap().unwrap(), "1");
    }
}
