// A queue of events: a list in Redis that survives a restart, or an array in this process while Redis is away.
import Redis from 'ioredis';

const WAITING = 'marketplace:events';
const TAKEN = 'marketplace:events:taken';
const POLL_SECONDS = 1;

export class EventQueue {
  #redis = null;
  #reader = null;
  #local = [];
  #handle;
  #stopped = false;
  #returned = false;

  /** @param handle async (event) => void; an event whose handling fails is reported and dropped. */
  constructor(settings, handle) {
    this.#handle = handle;
    if (settings) {
      const options = { ...settings, lazyConnect: true, maxRetriesPerRequest: 1, enableOfflineQueue: false };
      this.#redis = new Redis(options);
      this.#reader = new Redis(options); // a blocking read would hold up everything else on its connection
      for (const client of [this.#redis, this.#reader]) client.on('error', () => {}); // `engine` tells
    }
  }

  /** Where events go now. */
  get engine() {
    return this.#redis?.status === 'ready' ? 'redis' : 'in-process';
  }

  async publish(type, data) {
    const event = { type, data, at: new Date().toISOString() };
    try {
      if (this.engine !== 'redis') throw new Error('Redis is away');
      await this.#redis.lpush(WAITING, JSON.stringify(event));
    } catch {
      this.#local.push(event);
    }
  }

  async start() {
    await Promise.allSettled([this.#redis?.connect(), this.#reader?.connect()]);
    this.#work();
  }

  async #work() {
    while (!this.#stopped) {
      for (const event of this.#local.splice(0)) await this.#deliver(event);
      try {
        if (this.#reader?.status !== 'ready') throw new Error('Redis is away');
        await this.#returnTaken();
        const line = await this.#reader.blmove(WAITING, TAKEN, 'RIGHT', 'LEFT', POLL_SECONDS);
        if (line === null) continue;
        await this.#deliver(JSON.parse(line));
        await this.#redis.lrem(TAKEN, 1, line);
      } catch {
        await new Promise((done) => setTimeout(done, POLL_SECONDS * 200));
      }
    }
  }

  /** What was taken by a process that ended before it was done goes back, once. */
  async #returnTaken() {
    while (!this.#returned && (await this.#redis.lmove(TAKEN, WAITING, 'LEFT', 'RIGHT'))) ;
    this.#returned = true;
  }

  async #deliver(event) {
    try {
      await this.#handle(event);
    } catch (error) {
      console.error(`event ${event.type}: ${error.message}`);
    }
  }

  async stop() {
    this.#stopped = true;
    this.#redis?.disconnect();
    this.#reader?.disconnect();
  }
}
