//! How the core's words are written into columns and read back.
//!
//! Ids are blobs, enums and positions integers. A column that holds what this program never writes is an error
//! (it becomes [`StoreError::Corrupt`](meshlink_core::store::StoreError)), never a guess.

use meshlink_core::event::{LinkKind, MessageStatus};
use meshlink_core::id::{BundleId, NodeId};
use meshlink_core::store::{Class, HandOverStep, Priority, Protection};
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};

/// A word of the core as a column holds it.
pub(super) struct Column<T>(T);

/// The column at `index`.
pub(super) fn get<T>(row: &Row<'_>, index: usize) -> rusqlite::Result<T>
where
    Column<T>: FromSql,
{
    row.get::<_, Column<T>>(index).map(|column| column.0)
}

/// The column at `index`, which may be NULL.
pub(super) fn get_some<T>(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<T>>
where
    Column<T>: FromSql,
{
    row.get::<_, Option<Column<T>>>(index).map(|column| column.map(|column| column.0))
}

/// A number for a column. Numbers of the core fit (see its `store` module); one that does not is kept as the
/// greatest, which orders the same.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The same for a number that may be unknown.
pub(super) fn some_int(number: Option<u64>) -> Option<i64> {
    number.map(int)
}

impl FromSql for Column<u64> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        u64::try_from(number).map(Self).map_err(|_| FromSqlError::OutOfRange(number))
    }
}

impl FromSql for Column<u8> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        u8::column_result(value).map(Self)
    }
}

impl FromSql for Column<u16> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        u16::column_result(value).map(Self)
    }
}

impl FromSql for Column<bool> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self(false)),
            1 => Ok(Self(true)),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}

impl<const N: usize> FromSql for Column<[u8; N]> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        let wrong = FromSqlError::InvalidBlobSize { expected_size: N, blob_size: bytes.len() };
        bytes.try_into().map(Self).map_err(|_| wrong)
    }
}

impl FromSql for Column<NodeId> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Column::<[u8; NodeId::BYTES]>::column_result(value).map(|bytes| Self(NodeId(bytes.0)))
    }
}

impl FromSql for Column<BundleId> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Column::<[u8; BundleId::BYTES]>::column_result(value).map(|bytes| Self(BundleId(bytes.0)))
    }
}

/// Writes and reads an enum by its number.
macro_rules! by_number {
    ($name:ident, $word:ident { $($variant:ident = $number:literal),+ $(,)? }) => {
        pub(super) fn $name(word: $word) -> i64 {
            match word {
                $($word::$variant => $number,)+
            }
        }

        impl FromSql for Column<$word> {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                match value.as_i64()? {
                    $($number => Ok(Self($word::$variant)),)+
                    other => Err(FromSqlError::OutOfRange(other)),
                }
            }
        }
    };
}

by_number!(priority, Priority { Sos = 0, Normal = 1, Bulk = 2 });
by_number!(class, Class { Own = 0, Contact = 1, Stranger = 2, Receipt = 3 });
by_number!(status, MessageStatus { Pending = 0, Synced = 1, Delivered = 2, Read = 3, Expired = 4, Failed = 5 });
by_number!(protection, Protection { Public = 0, Sealed = 1, SealedVerified = 2, Channel = 3 });
by_number!(step, HandOverStep { Offered = 0, Stored = 1, Received = 2, Delivered = 3, Read = 4 });
by_number!(link_kind, LinkKind { Pipe = 0, Lan = 1, Ble = 2, Relay = 3 });
