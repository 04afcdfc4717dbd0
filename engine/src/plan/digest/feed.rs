//! What a digest is taken of: values as bytes, so that no two values are the same bytes.
//!
//! A value is written as its sort, its length and its content: `s` a number, a boolean or nothing, `t` a text, `l` a list, `m` a map
//! whose entries, each a `k` and a value, are in the order of their keys. It is what [`serde_json::to_value`] would make of a value,
//! written without making it, and without the places: steps and checks have a kind, arguments and a place.

use std::fmt::{self, Write as _};
use std::ops::Range;

use serde::ser::{self, Error as _, Serialize};
use serde_json::{Error, Number};

/// How many bytes say the sort and the length.
const HEAD: usize = 9;

/// Writes values.
#[derive(Debug, Default)]
pub(super) struct Feed {
    bytes: Vec<u8>,
    /// The entries of the maps that are being written, those of the innermost last.
    entries: Vec<Entry>,
    /// Room for putting entries in order.
    ordered: Vec<u8>,
}

/// Where an entry of a map is: the text of its key, and all of it.
#[derive(Debug, Clone)]
struct Entry {
    /// The first bytes of the key, which mostly say enough for its order.
    head: [u8; 8],
    key: Range<usize>,
    end: usize,
}

impl Feed {
    /// Returns what was written since it was cleared.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets what was written.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Begins a map of so many entries, which are written next, in their order.
    pub fn map(&mut self, count: usize) {
        self.head(b'm', count);
    }

    /// Begins a list of so many values, which are written next.
    pub fn list(&mut self, count: usize) {
        self.head(b'l', count);
    }

    /// Writes a key; its value is written next.
    pub fn key(&mut self, key: &str) {
        self.text(b'k', key);
    }

    /// Writes a value. What cannot be one of JSON is nothing.
    pub fn value(&mut self, value: &impl Serialize) {
        let (start, entries) = (self.bytes.len(), self.entries.len());
        if value.serialize(&mut *self).is_err() {
            self.bytes.truncate(start);
            self.entries.truncate(entries);
            self.text(b's', "null");
        }
    }

    fn head(&mut self, sort: u8, count: usize) {
        self.bytes.push(sort);
        self.bytes.extend_from_slice(&(count as u64).to_be_bytes());
    }

    fn set_count(&mut self, start: usize, count: usize) {
        self.bytes[start + 1..start + HEAD].copy_from_slice(&(count as u64).to_be_bytes());
    }

    fn text(&mut self, sort: u8, text: &str) {
        self.head(sort, text.len());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Writes what is displayed, without a text in between.
    fn shown(&mut self, sort: u8, value: &(impl fmt::Display + ?Sized)) -> Result<(), Error> {
        let start = self.bytes.len();
        self.head(sort, 0);
        write!(Text(&mut self.bytes), "{value}").map_err(Error::custom)?;
        self.set_count(start, self.bytes.len() - start - HEAD);
        Ok(())
    }

    fn begin_list(&mut self) -> List<'_> {
        let start = self.bytes.len();
        self.list(0);
        List { feed: self, start, count: 0 }
    }

    fn begin_map(&mut self) -> Entries<'_> {
        let (start, first) = (self.bytes.len(), self.entries.len());
        self.map(0);
        Entries { feed: self, start, first }
    }

    /// Begins a map whose one value is written next.
    fn variant(&mut self, name: &str) {
        self.map(1);
        self.key(name);
    }

    /// Puts the entries of a map in order and leaves its place out.
    fn end_map(&mut self, start: usize, first: usize) {
        let Self { bytes, entries, ordered } = self;
        let own = &mut entries[first..];
        let key = |entry: &Entry| &bytes[entry.key.clone()];
        let order = |one: &Entry, other: &Entry| one.head.cmp(&other.head).then_with(|| key(one).cmp(key(other)));
        let in_order = own.is_sorted_by(|one, other| order(one, other).is_lt());
        if !in_order {
            own.sort_unstable_by(order);
        }
        let at = |name: &str| {
            own.iter().position(|entry| entry.head == head(name.as_bytes()) && key(entry) == name.as_bytes())
        };
        let place = at("place").filter(|_| at("kind").is_some() && at("args").is_some());
        let count = own.len() - usize::from(place.is_some());
        if !in_order || place.is_some() {
            ordered.clear();
            for (index, entry) in own.iter().enumerate() {
                if Some(index) != place {
                    ordered.extend_from_slice(&bytes[entry.key.start - HEAD..entry.end]);
                }
            }
            bytes.truncate(start + HEAD);
            bytes.extend_from_slice(ordered);
        }
        entries.truncate(first);
        self.set_count(start, count);
    }
}

/// Returns the first bytes of a key, filled up with zeros: of two keys that differ in them, their order is that of the keys.
fn head(key: &[u8]) -> [u8; 8] {
    let mut head = [0; 8];
    let count = key.len().min(head.len());
    head[..count].copy_from_slice(&key[..count]);
    head
}

/// Takes displayed text into bytes.
struct Text<'a>(&'a mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// A list that is being written.
pub(super) struct List<'a> {
    feed: &'a mut Feed,
    start: usize,
    count: usize,
}

impl List<'_> {
    fn add(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        self.count += 1;
        value.serialize(&mut *self.feed)
    }

    fn end(self) {
        self.feed.set_count(self.start, self.count);
    }
}

/// A map that is being written.
pub(super) struct Entries<'a> {
    feed: &'a mut Feed,
    start: usize,
    /// The first of its entries.
    first: usize,
}

impl Entries<'_> {
    fn key(&mut self, key: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        let start = self.feed.bytes.len();
        key.serialize(&mut *self.feed)?;
        // JSON takes texts, and shows of numbers and booleans.
        let text = start + HEAD..self.feed.bytes.len();
        let is_text = match self.feed.bytes[start] {
            b't' => true,
            sort => sort == b's' && self.feed.bytes[text.clone()] != *b"null",
        };
        if !is_text {
            return Err(Error::custom("a key has to be a text"));
        }
        self.feed.bytes[start] = b'k';
        let head = head(&self.feed.bytes[text.clone()]);
        self.feed.entries.push(Entry { head, end: text.end, key: text });
        Ok(())
    }

    fn value(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        value.serialize(&mut *self.feed)?;
        let end = self.feed.bytes.len();
        if let Some(entry) = self.feed.entries.last_mut() {
            entry.end = end;
        }
        Ok(())
    }

    fn field(&mut self, key: &'static str, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        self.key(key)?;
        self.value(value)
    }

    fn end(self) {
        self.feed.end_map(self.start, self.first);
    }
}

impl<'a> ser::Serializer for &'a mut Feed {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = List<'a>;
    type SerializeTuple = List<'a>;
    type SerializeTupleStruct = List<'a>;
    type SerializeTupleVariant = List<'a>;
    type SerializeMap = Entries<'a>;
    type SerializeStruct = Entries<'a>;
    type SerializeStructVariant = Entries<'a>;

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.text(b's', if value { "true" } else { "false" });
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result<(), Error> {
        self.shown(b's', &value)
    }

    fn serialize_i16(self, value: i16) -> Result<(), Error> {
        self.shown(b's', &value)
    }

    fn serialize_i32(self, value: i32) -> Result<(), Error> {
        self.shown(b's', &value)
    }

    fn serialize_i64(self, value: i64) -> Result<(), Error> {
        self.shown(b's', &value)
    }

    fn serialize_u8(self, value: u8) -> Result<(), Error> {
        self.shown(b's', &value)
    }

    fn serialize_u16(self, value: u16) -> Result<(), Error> {
        self.shown(b's', &value)
    }

    fn serialize_u32(self, value: u32) -> Result<(), Error> {
        self.shown(b's', &value)
    }

    fn serialize_u64(self, value: u64) -> Result<(), Error> {
        self.shown(b's', &value)
    }

    fn serialize_f32(self, value: f32) -> Result<(), Error> {
        self.serialize_f64(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Result<(), Error> {
        match Number::from_f64(value) {
            Some(number) => self.shown(b's', &number),
            None => self.serialize_unit(),
        }
    }

    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.text(b't', value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.text(b't', value);
        Ok(())
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.shown(b't', value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        let mut list = self.begin_list();
        value.iter().try_for_each(|byte| list.add(byte))?;
        list.end();
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.text(b's', "null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.variant(variant);
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<List<'a>, Error> {
        Ok(self.begin_list())
    }

    fn serialize_tuple(self, _: usize) -> Result<List<'a>, Error> {
        Ok(self.begin_list())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<List<'a>, Error> {
        Ok(self.begin_list())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<List<'a>, Error> {
        self.variant(variant);
        Ok(self.begin_list())
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries<'a>, Error> {
        Ok(self.begin_map())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Entries<'a>, Error> {
        Ok(self.begin_map())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Entries<'a>, Error> {
        self.variant(variant);
        Ok(self.begin_map())
    }
}

macro_rules! list_of {
    ($($kind:ident, $add:ident;)*) => {$(
        impl ser::$kind for List<'_> {
            type Ok = ();
            type Error = Error;

            fn $add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.add(value)
            }

            fn end(self) -> Result<(), Error> {
                self.end();
                Ok(())
            }
        }
    )*};
}

list_of! {
    SerializeSeq, serialize_element;
    SerializeTuple, serialize_element;
    SerializeTupleStruct, serialize_field;
    SerializeTupleVariant, serialize_field;
}

macro_rules! entries_of {
    ($($kind:ident;)*) => {$(
        impl ser::$kind for Entries<'_> {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Error> {
                self.field(key, value)
            }

            fn end(self) -> Result<(), Error> {
                self.end();
                Ok(())
            }
        }
    )*};
}

entries_of! {
    SerializeStruct;
    SerializeStructVariant;
}

impl ser::SerializeMap for Entries<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.value(value)
    }

    fn end(self) -> Result<(), Error> {
        self.end();
        Ok(())
    }
}
