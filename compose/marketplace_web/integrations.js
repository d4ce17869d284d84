// The registry of integrations: who wants to hear of which event, and what became of the calls. The calls themselves
// are simulated: no address outside is ever opened.

const LATENCY_MS = 5;

export class IntegrationRegistry {
  #integrations = new Map();

  register(name, { kind, events, call }) {
    if (this.#integrations.has(name)) throw new Error(`integration ${name} is registered twice`);
    this.#integrations.set(name, { name, kind, events, call, calls: 0, failures: 0, lastCall: null });
  }

  get count() {
    return this.#integrations.size;
  }

  list() {
    return [...this.#integrations.values()].map(({ call, ...shown }) => shown);
  }

  /** Tell every integration that listens. One that fails does not keep the others from hearing. */
  async dispatch(event) {
    for (const integration of this.#integrations.values()) {
      if (!integration.events.includes(event.type)) continue;
      integration.calls += 1;
      integration.lastCall = new Date().toISOString();
      try {
        await integration.call(event);
      } catch {
        integration.failures += 1;
      }
    }
  }
}

export function standardIntegrations() {
  const simulated = () => new Promise((done) => setTimeout(done, LATENCY_MS));
  const registry = new IntegrationRegistry();
  registry.register('payment-provider', { kind: 'payment', events: ['payment.created'], call: simulated });
  registry.register('mail', { kind: 'mail', events: ['user.created', 'lease.created', 'payment.created'], call: simulated });
  registry.register('calendar', { kind: 'calendar', events: ['lease.created'], call: simulated });
  return registry;
}
