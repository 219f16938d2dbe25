// Package redisstore keeps sealed token records in Redis 6.2 or later, or in another
// server that speaks its protocol and has GETEX and Lua scripts, such as Valkey.
//
// [New] makes a [store.KV] of the go-redis client that the program already has, and
// store.NewShared makes a token store of that. The example of this package is a whole
// program. For many users there is examples/database in the repository, with a
// tokenclient.Pool.
//
// # How Redis must be set up
//
// What is lost in Redis is a lost login: a refresh token that was exchanged works no
// more, and the new one is nowhere else but in the memory of the processes that use
// it. Redis as it is delivered is a cache, which forgets. It needs
//
//   - appendonly yes, with appendfsync always, or everysec if about two seconds of
//     logins and refreshes may be lost when the machine loses power;
//   - maxmemory-policy noeviction, or no maxmemory: any other policy removes records
//     that look unused, or some at random;
//   - an account (ACL) that may run GETEX, EVALSHA and EVAL, and in scripts GET and
//     SET, on the keys with the prefix; and, so that who waits is woken, PUBLISH and
//     SUBSCRIBE (in a Cluster SPUBLISH and SSUBSCRIBE) on the channels with the prefix.
//
// When memory is full, Redis refuses writes. Then nobody can log in or refresh, and
// nothing is lost.
//
// # Failover
//
// Redis answers a write before its replicas have it. If the master fails just then,
// what takes its place, by Sentinel or in a Cluster, has an older record: of the last
// moments of the old master, or of all the time that it was cut off from its replicas
// and went on. A session that has the newer token of the same login in memory puts it
// back, so that usually nothing is noticed. If its process was lost too, the next one
// presents a token that was exchanged already, and a strict server then asks for a
// login. Likewise a login of these moments is lost, and a logout may come undone, unless the server was told to
// revoke the token, which tokenclient's Logout does if it can; and for as long as there
// are two masters, two processes can each present the same token.
//
// min-replicas-to-write 1 with a small min-replicas-max-lag shortens these moments: a
// master that lost its replicas refuses to be read and written. Where a login must
// not be lost to a failover, use an SQL database that replicates synchronously.
//
// Replicas are never asked: reads are made by GETEX, which Redis takes for a write.
// So clients may have ReadOnly, RouteByLatency or RouteRandomly set for the rest of
// the program. A Cluster works, also while slots move. A redis.Ring does not: it moves
// keys to another server while theirs is down, and everybody would seem logged out.
// All calls with one fail.
//
// # What is stored
//
// One string for each key, under the prefix and 64 hexadecimal digits. It does not
// expire. Keys that are logged out, or whose token was refused, keep a record of 67
// bytes, which with its key takes some 200 bytes of memory.
// Whoever has millions of them removes those of long ago, with
//
//	redis-cli --scan --pattern 'PREFIX*' | xargs -I % redis-cli EVAL "
//	  if redis.call('OBJECT', 'IDLETIME', KEYS[1]) > 604800 and redis.call('STRLEN', KEYS[1]) == 67 then
//	    return redis.call('DEL', KEYS[1])
//	  end" 1 %
//
// A record of another length holds a token. IDLETIME counts seconds, and does not work
// with a maxmemory-policy of LFU. Keep the records of the last days: a process that was
// away may have the token that comes after a refused one, and then puts it there.
package redisstore
