// Keeps a copy of one user fresh with WatchUsers: node watch.mjs TARGET SUB
//
// It prints the user whenever its copy changes. The caller's rule needs watch = true. docs/watch.md has
// the recipe.
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const PROTO = fileURLToPath(new URL('../../proto', import.meta.url));
const READING = { includeDirs: [PROTO], enums: String, longs: Number, oneofs: true };
const types = grpc.loadPackageDefinition(loadSync(['userlookup/v1/user_service.proto'], READING));

const TIMEOUT = 3_000;
// How long a copy is used while changes may be missed.
const TTL = 60_000;
// Three intervals of checkpoints.
const SILENCE = 90_000;
// The most copies, and the most changes, that are kept. When there are more, all are dropped.
const MAX_USERS = 10_000;

// Copies of users, each with the time at which it was read.
class Mirror {
  #users;
  #copies = new Map();
  #changed = new Map();
  // The `not_older_than` of users whose change was dropped.
  #changedBefore;
  #heard = 0;
  #healthy = false;
  // Changes whenever a read in flight must not be kept.
  #version = 0;

  constructor(users) {
    this.#users = users;
  }

  // Returns the copy of a user, or reads the user.
  async get(sub) {
    const copy = this.#copies.get(sub);
    const hears = this.#healthy && Date.now() - this.#heard < SILENCE;
    if (copy && (hears || Date.now() - copy.read < TTL)) return copy.reply;
    const version = this.#version;
    const request = { sub, notOlderThan: this.#changed.get(sub) ?? this.#changedBefore };
    const reply = await new Promise((resolve, reject) => {
      const done = (error, answer) => (error ? reject(error) : resolve(answer));
      this.#users.getUser(request, { deadline: Date.now() + TIMEOUT }, done);
    });
    if (version === this.#version && this.#heard) {
      this.#changed.delete(sub);
      if (this.#copies.size >= MAX_USERS) this.#copies.clear();
      this.#copies.set(sub, { reply, read: Date.now() });
    }
    return reply;
  }

  // Drops the copies of users that change. Ends if a retry does not help.
  async watch() {
    let resumeToken = '';
    for (;;) {
      try {
        for await (const message of this.#users.watchUsers({ resumeToken })) {
          this.#hear(message);
          resumeToken = message.resumeToken;
        }
      } catch (error) {
        if (error.code === grpc.status.OUT_OF_RANGE) {
          this.#forget();
          resumeToken = '';
        } else if ([grpc.status.UNAVAILABLE, grpc.status.RESOURCE_EXHAUSTED].includes(error.code)) {
          await sleep(1_000);
        } else {
          this.#forget();
          throw error;
        }
      }
    }
  }

  #hear({ change, checkpoint }) {
    if (change) {
      this.#version += 1;
      this.#copies.delete(change.sub);
      if (this.#changed.size >= MAX_USERS) {
        this.#changed.clear();
        this.#changedBefore = change.seenAt;
      }
      this.#changed.set(change.sub, change.seenAt);
    } else {
      // What was read before the first checkpoint may be older than the stream.
      if (!this.#heard) this.#version += 1;
      this.#healthy = checkpoint?.sourceHealthy ?? false;
    }
    this.#heard = Date.now();
  }

  #forget() {
    this.#version += 1;
    this.#copies.clear();
    this.#heard = 0;
    this.#healthy = false;
  }
}

async function main(target, sub) {
  const mirror = new Mirror(new types.userlookup.v1.UserService(target, grpc.credentials.createInsecure()));
  mirror.watch().catch((error) => console.error(error.message));
  let shown;
  for (;;) {
    const { attributes } = (await mirror.get(sub)).user;
    const line = `${attributes.name} <${attributes.email}>`;
    if (line !== shown) console.log(line);
    shown = line;
    await sleep(100);
  }
}

await main(...process.argv.slice(2));
