//! An API server: objects with versions, their history in order, and the rules that writes are judged by.

use std::{collections::BTreeMap, sync::Arc};

use lb_core::allocate::{MetadataPlan, Pool, PoolStatus, Service, StatusPlan, UnixTime};

/// An object with what the API server adds to it.
#[derive(Clone, Debug)]
pub(crate) struct Object<T> {
    pub(crate) version: u64,
    pub(crate) uid: u64,
    pub(crate) value: Arc<T>,
}

/// All objects of a kind, and how they came about.
#[derive(Clone, Debug)]
pub(crate) struct Kind<T> {
    pub(crate) objects: BTreeMap<Arc<str>, Object<T>>,
    /// What a watch tells, in order; `None`: deleted.
    pub(crate) history: Vec<(u64, Arc<str>, Option<Object<T>>)>,
}

impl<T> Default for Kind<T> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            history: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Conflict,
    NotFound,
}

#[derive(Default)]
pub(crate) struct Store {
    revision: u64,
    pub(crate) now: UnixTime,
    pub(crate) pools: Kind<Pool>,
    pub(crate) services: Kind<Service>,
}

impl<T: Clone> Kind<T> {
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<T>> {
        self.objects.get(name).map(|object| &object.value)
    }

    pub(crate) fn version(&self, name: &str) -> Option<u64> {
        self.objects.get(name).map(|object| object.version)
    }

    fn put(&mut self, revision: u64, name: &Arc<str>, value: T) -> Object<T> {
        let uid = self.objects.get(name).map_or(revision, |object| object.uid);
        let object = Object {
            version: revision,
            uid,
            value: Arc::new(value),
        };
        self.objects.insert(Arc::clone(name), object.clone());
        let change = (revision, Arc::clone(name), Some(object.clone()));
        self.history.push(change);
        object
    }

    fn remove(&mut self, revision: u64, name: &Arc<str>) {
        self.objects.remove(name);
        self.history.push((revision, Arc::clone(name), None));
    }

    fn check(&self, name: &str, version: u64) -> Result<T, Refusal> {
        let object = self.objects.get(name).ok_or(Refusal::NotFound)?;
        if object.version != version {
            return Err(Refusal::Conflict);
        }
        Ok(T::clone(&object.value))
    }
}

impl Store {
    pub(crate) fn at(now: UnixTime) -> Self {
        Self {
            now,
            ..Self::default()
        }
    }

    pub(crate) fn last_version(&self) -> u64 {
        self.revision
    }

    fn next_revision(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    pub(crate) fn put_pool(&mut self, pool: Pool) -> Object<Pool> {
        let revision = self.next_revision();
        let name = Arc::clone(&pool.name);
        self.pools.put(revision, &name, pool)
    }

    pub(crate) fn put_service(&mut self, service: Service) -> Object<Service> {
        let revision = self.next_revision();
        let name = Arc::clone(&service.name);
        self.services.put(revision, &name, service)
    }

    pub(crate) fn delete_pool(&mut self, name: &Arc<str>, by_force: bool) {
        let Some(pool) = self.pools.get(name) else {
            return;
        };
        if pool.has_finalizer && !by_force {
            let mut pool = Pool::clone(pool);
            pool.is_deleting = true;
            self.put_pool(pool);
        } else {
            let revision = self.next_revision();
            self.pools.remove(revision, name);
        }
    }

    pub(crate) fn delete_service(&mut self, name: &Arc<str>, by_force: bool) {
        let Some(service) = self.services.get(name) else {
            return;
        };
        if service.has_finalizer && !by_force {
            if service.deleted.is_none() {
                let mut service = Service::clone(service);
                service.deleted = Some(self.now);
                self.put_service(service);
            }
        } else {
            let revision = self.next_revision();
            self.services.remove(revision, name);
        }
    }

    pub(crate) fn write_pool_finalizer(
        &mut self,
        name: &Arc<str>,
        version: u64,
        finalizer: bool,
    ) -> Result<Option<Object<Pool>>, Refusal> {
        let mut pool = self.pools.check(name, version)?;
        pool.has_finalizer = finalizer;
        if pool.is_deleting && !finalizer {
            let revision = self.next_revision();
            self.pools.remove(revision, name);
            return Ok(None);
        }
        Ok(Some(self.put_pool(pool)))
    }

    pub(crate) fn write_pool_status(
        &mut self,
        name: &Arc<str>,
        version: u64,
        status: PoolStatus,
    ) -> Result<Option<Object<Pool>>, Refusal> {
        let mut pool = self.pools.check(name, version)?;
        pool.status = status;
        Ok(Some(self.put_pool(pool)))
    }

    pub(crate) fn write_metadata(
        &mut self,
        name: &Arc<str>,
        version: u64,
        plan: &MetadataPlan,
    ) -> Result<Option<Object<Service>>, Refusal> {
        let mut service = self.services.check(name, version)?;
        service.has_finalizer = plan.finalizer;
        service.announcement.clone_from(&plan.announcement);
        service.has_openelb_marks &= plan.keeps_openelb_label && !plan.finalizer;
        if !plan.keeps_leave {
            service.leave.clear();
        }
        if service.deleted.is_some() && !plan.finalizer {
            let revision = self.next_revision();
            self.services.remove(revision, name);
            return Ok(None);
        }
        Ok(Some(self.put_service(service)))
    }

    pub(crate) fn write_service_status(
        &mut self,
        name: &Arc<str>,
        version: u64,
        plan: &StatusPlan,
    ) -> Result<Option<Object<Service>>, Refusal> {
        let mut service = self.services.check(name, version)?;
        service.ingress.clone_from(&plan.ingress);
        service.conditions.clone_from(&plan.conditions);
        Ok(Some(self.put_service(service)))
    }
}
