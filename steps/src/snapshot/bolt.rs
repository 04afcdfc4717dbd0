//! The pages of a bbolt database, read with every offset checked.
//!
//! The layout is that of `go.etcd.io/bbolt` (`page.go`, `db.go`, `bucket.go`): pages with a header of 16 bytes; two meta
//! pages at the beginning; branch and leaf pages that form a tree of buckets; numbers in the byte order of the machine
//! that wrote them, which is little-endian wherever etcd is supported.

use std::fs::File;
use std::hash::Hasher;
use std::io;
use std::os::unix::fs::FileExt;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
const HEADER: usize = 16;
const META: usize = 64;
const BRANCH_ELEMENT: usize = 16;
const LEAF_ELEMENT: usize = 16;
const BUCKET_HEADER: usize = 16;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
/// A leaf element with this flag holds a bucket.
const IS_BUCKET: u32 = 0x01;
/// Deeper than any tree that has two children in each branch and fits a disk.
const DEEPEST: usize = 64;
/// A page with its overflow is as long as its largest value; etcd refuses requests long before this.
const LONGEST_PAGE: usize = 1 << 30;

/// Says what is wrong with a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Damage(String);

impl Damage {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Says why a walk ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Damage(#[from] Damage),
}

fn damage<T>(text: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Damage(Damage::new(text)))
}

/// An entry of a bucket.
pub(super) enum Entry<'a> {
    /// A key and its value.
    Pair(&'a [u8], &'a [u8]),
    /// A bucket in it, by its name.
    Bucket(&'a [u8], Bucket),
}

/// Where the entries of a bucket are.
#[derive(Clone)]
pub(super) enum Bucket {
    /// On pages of their own, below this one.
    Pages(u64),
    /// On a page inside the value that holds the bucket.
    Inline(Vec<u8>),
}

/// An open database.
pub(super) struct Database<'f> {
    file: &'f File,
    page_size: usize,
    root: u64,
    /// The number of pages that are in use or free; none is at or above it.
    pages: u64,
    /// The pages that were read: each must be reached only once.
    seen: Vec<u64>,
}

impl<'f> Database<'f> {
    /// Reads the meta pages of a database of `length` bytes.
    pub(super) fn open(file: &'f File, length: u64) -> Result<Self, Stop> {
        let Some(meta) = newest_meta(file, length)? else {
            return damage("neither of its two meta pages is valid");
        };
        let size = meta.pages.checked_mul(meta.page_size as u64);
        if size.is_none_or(|size| size > length) {
            return damage(format!("it has {} pages of {} bytes, and only {length} bytes", meta.pages, meta.page_size));
        }
        let words = usize::try_from(meta.pages / 64 + 1).map_err(|_| Damage::new("it has too many pages"))?;
        Ok(Self { file, page_size: meta.page_size, root: meta.root, pages: meta.pages, seen: vec![0; words] })
    }

    /// Returns the size of the database, in bytes, as `tx.Size()` has it.
    pub(super) fn size(&self) -> u64 {
        self.pages * self.page_size as u64
    }

    /// Returns the bucket of all buckets.
    pub(super) fn root(&self) -> Bucket {
        Bucket::Pages(self.root)
    }

    /// Visits the entries of a bucket in the order of their keys.
    pub(super) fn walk(
        &mut self,
        bucket: &Bucket,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut last = None;
        match bucket {
            Bucket::Pages(root) => self.walk_page(*root, 0, &mut last, visit),
            Bucket::Inline(page) => match Page::parse(page)? {
                page if page.kind == LEAF => page.visit_leaf(&mut last, visit),
                page => damage(format!("an inline bucket has a page of kind {:#x}", page.kind)),
            },
        }
    }

    fn walk_page(
        &mut self,
        id: u64,
        depth: usize,
        last: &mut Option<Vec<u8>>,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        if depth > DEEPEST {
            return damage(format!("page {id} is too deep in the tree"));
        }
        let bytes = self.page(id)?;
        let page = Page::parse(&bytes)?;
        match page.kind {
            LEAF => page.visit_leaf(last, visit),
            BRANCH => {
                for index in 0..page.count {
                    self.walk_page(page.child(index)?, depth + 1, last, visit)?;
                }
                Ok(())
            }
            other => damage(format!("page {id} is of kind {other:#x}, neither branch nor leaf")),
        }
    }

    /// Reads a page with its overflow, once.
    fn page(&mut self, id: u64) -> Result<Vec<u8>, Stop> {
        // The first two pages are the meta pages.
        if id < 2 || id >= self.pages {
            return damage(format!("page {id} is referred to, and there are {} pages", self.pages));
        }
        let mut bytes = vec![0; self.page_size];
        let offset = id * self.page_size as u64;
        self.file.read_exact_at(&mut bytes, offset)?;
        let own_id = u64_at(&bytes, 0)?;
        if own_id != id {
            return damage(format!("page {id} calls itself {own_id}"));
        }
        let overflow = u64::from(u32_at(&bytes, 12)?);
        if overflow >= self.pages - id {
            return damage(format!("page {id} goes on for {overflow} pages, past the end"));
        }
        for page in id..=id + overflow {
            self.mark(page)?;
        }
        if overflow > 0 {
            let length = usize::try_from(overflow + 1).ok().and_then(|n| n.checked_mul(self.page_size));
            let Some(length) = length.filter(|length| *length <= LONGEST_PAGE) else {
                return damage(format!("page {id} goes on for {overflow} pages, more than etcd ever writes"));
            };
            bytes.resize(length, 0);
            self.file.read_exact_at(&mut bytes[self.page_size..], offset + self.page_size as u64)?;
        }
        Ok(bytes)
    }

    fn mark(&mut self, page: u64) -> Result<(), Stop> {
        let bit = 1 << (page % 64);
        let word = usize::try_from(page / 64).ok().and_then(|index| self.seen.get_mut(index));
        match word {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                Ok(())
            }
            Some(_) | None => damage(format!("page {page} is referred to twice")),
        }
    }
}

/// A page in memory.
struct Page<'a> {
    bytes: &'a [u8],
    kind: u16,
    count: usize,
}

impl<'a> Page<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Stop> {
        Ok(Self { bytes, kind: u16_at(bytes, 8)?, count: usize::from(u16_at(bytes, 10)?) })
    }

    fn child(&self, index: usize) -> Result<u64, Stop> {
        Ok(u64_at(self.bytes, HEADER + index * BRANCH_ELEMENT + 8)?)
    }

    fn visit_leaf(
        &self,
        last: &mut Option<Vec<u8>>,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        for index in 0..self.count {
            let element = HEADER + index * LEAF_ELEMENT;
            let flags = u32_at(self.bytes, element)?;
            let key_at = element.saturating_add(u32_at(self.bytes, element + 4)? as usize);
            let key_length = u32_at(self.bytes, element + 8)? as usize;
            let key = slice(self.bytes, key_at, key_length)?;
            let value = slice(self.bytes, key_at + key_length, u32_at(self.bytes, element + 12)? as usize)?;
            if last.as_deref().is_some_and(|last| last >= key) {
                return damage("its keys are not in order");
            }
            let kept = last.get_or_insert_default();
            kept.clear();
            kept.extend_from_slice(key);
            let entry =
                if flags & IS_BUCKET == 0 { Entry::Pair(key, value) } else { Entry::Bucket(key, bucket(value)?) };
            visit(entry)?;
        }
        Ok(())
    }
}

fn bucket(value: &[u8]) -> Result<Bucket, Stop> {
    match u64_at(value, 0)? {
        0 => Ok(Bucket::Inline(slice(value, BUCKET_HEADER, value.len().saturating_sub(BUCKET_HEADER))?.to_vec())),
        root => Ok(Bucket::Pages(root)),
    }
}

/// What a meta page says.
struct Meta {
    page_size: usize,
    root: u64,
    pages: u64,
    transaction: u64,
}

/// Returns the valid meta page of the later transaction. The second one is a page behind the first; if the first is
/// damaged, every page size is tried.
fn newest_meta(file: &File, length: u64) -> Result<Option<Meta>, Stop> {
    let first = meta_at(file, 0, length)?;
    let sizes = first.as_ref().map_or_else(|| (9..=16).map(|power| 1 << power).collect(), |meta| vec![meta.page_size]);
    let mut best = first;
    for size in sizes {
        let other = meta_at(file, size as u64, length)?.filter(|meta| meta.page_size == size);
        if other.as_ref().map(|meta| meta.transaction) > best.as_ref().map(|meta| meta.transaction) {
            best = other;
        }
    }
    Ok(best)
}

fn meta_at(file: &File, offset: u64, length: u64) -> Result<Option<Meta>, Stop> {
    if length < offset + (HEADER + META) as u64 {
        return Ok(None);
    }
    let mut bytes = [0; HEADER + META];
    file.read_exact_at(&mut bytes, offset)?;
    let meta = &bytes[HEADER..];
    let mut fnv = Fnv64a::default();
    fnv.write(&meta[..META - 8]);
    let page_size = u32_at(meta, 8)? as usize;
    let valid = u32_at(meta, 0)? == MAGIC
        && u32_at(meta, 4)? == VERSION
        && u64_at(meta, 56)? == fnv.finish()
        && page_size.is_power_of_two()
        && (512..=1 << 16).contains(&page_size);
    let read = || -> Result<Meta, Damage> {
        Ok(Meta { page_size, root: u64_at(meta, 16)?, pages: u64_at(meta, 40)?, transaction: u64_at(meta, 48)? })
    };
    Ok(if valid { Some(read()?) } else { None })
}

/// The checksum of meta pages.
struct Fnv64a(u64);

impl Default for Fnv64a {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv64a {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn slice(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], Damage> {
    let end = at.checked_add(length);
    end.and_then(|end| bytes.get(at..end)).ok_or_else(|| Damage::new("an entry lies outside its page"))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Damage> {
    let mut out = [0; N];
    out.copy_from_slice(slice(bytes, at, N)?);
    Ok(out)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Damage> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Damage> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, Damage> {
    array(bytes, at).map(u64::from_le_bytes)
}
