// SPDX-License-Identifier: Apache-2.0
// What a second, independent client library sees of the routers: rhea, for Node.js.
//
//   node cases.js CASE PORT_OF_ONE_ROUTER PORT_OF_ANOTHER
//
// A case is a function that rejects, or throws, when something is not as it should be.
'use strict';

const assert = require('assert');
const rhea = require('rhea');

const [name, near, far] = process.argv.slice(2);

function connect(port) {
    const container = rhea.create_container();
    return container.connect({ host: '127.0.0.1', port: Number(port), reconnect: false });
}

// The next event of this name.
function once(emitter, event) {
    return new Promise((resolve) => emitter.once(event, resolve));
}

async function receiver(port, source, options = {}) {
    const link = connect(port).open_receiver({ source, autoaccept: true, ...options });
    link.got = [];
    link.on('message', (context) => {
        link.got.push(context);
        link.emit('counted');
    });
    await once(link, 'receiver_open');
    return link;
}

async function count(link, wanted) {
    while (link.got.length < wanted)
        await once(link, 'counted');
    return link.got.map((context) => context.message.body);
}

async function sender(port, target, options = {}) {
    const link = connect(port).open_sender({ target, ...options });
    await once(link, 'sender_open');
    return link;
}

async function sendable(link) {
    while (!link.sendable())
        await once(link, 'sendable');
}

// Sends, and tells the outcome; again while it comes back released and routes are being learned.
async function send(link, message, again = false) {
    for (;;) {
        await sendable(link);
        const delivery = link.send(message);
        const outcome = await new Promise((resolve) => {
            for (const event of ['accepted', 'rejected', 'released']) {
                const heard = (context) => {
                    if (context.delivery === delivery)
                        resolve({ event, state: context.delivery.remote_state });
                };
                link.on(event, heard);
            }
        });
        if (outcome.event !== 'released' || !again)
            return outcome;
    }
}

const numbers = (n) => Array.from({ length: n }, (_, i) => i);

const cases = {
    async messages_arrive_in_order_and_are_accepted() {
        const r = await receiver(far, 'rhea/order');
        const s = await sender(near, 'rhea/order');
        await send(s, { body: 'first' }, true);
        const outcomes = [];
        for (const i of numbers(50))
            outcomes.push(send(s, { body: i }));
        assert.deepStrictEqual(await count(r, 51), ['first', ...numbers(50)]);
        for (const outcome of await Promise.all(outcomes))
            assert.strictEqual(outcome.event, 'accepted');
    },

    async outcomes_come_with_their_words() {
        const r = await receiver(far, 'rhea/outcome', { autoaccept: false });
        const s = await sender(near, 'rhea/outcome');
        const settle = {
            accept: (d) => d.accept(),
            reject: (d) => d.reject({ condition: 'shop:sold-out', description: 'none is left' }),
            release: (d) => d.release(),
            modify: (d) => d.modified({ delivery_failed: true, undeliverable_here: true }),
        };
        r.on('message', (context) => settle[context.message.body](context.delivery));
        assert.strictEqual((await send(s, { body: 'accept' }, true)).event, 'accepted');
        const rejected = await send(s, { body: 'reject' });
        assert.strictEqual(rejected.event, 'rejected');
        assert.strictEqual(rejected.state.error.condition, 'shop:sold-out');
        assert.strictEqual(rejected.state.error.description, 'none is left');
        assert.strictEqual((await send(s, { body: 'release' })).event, 'released');
        const modified = await send(s, { body: 'modify' });
        assert.strictEqual(modified.event, 'released'); // rhea tells both by this name
        assert.strictEqual(modified.state.delivery_failed, true);
        assert.strictEqual(modified.state.undeliverable_here, true);
    },

    async multicast_gives_each_a_copy() {
        const all = [await receiver(near, 'mc/rhea'), await receiver(far, 'mc/rhea')];
        const s = await sender(near, 'mc/rhea');
        do { // until both are known
            await send(s, { body: 'learn' }, true);
        } while (!all.every((r) => r.got.length > 0));
        await send(s, { body: 'news' });
        for (const r of all) {
            while (r.got[r.got.length - 1].message.body !== 'news')
                await once(r, 'counted');
            assert.strictEqual(r.got.filter((c) => c.message.body === 'news').length, 1);
        }
    },

    async a_request_is_answered_over_a_dynamic_address() {
        const service = await receiver(far, 'rhea/service');
        const replies = service.connection.open_sender({ target: {} });
        service.on('message', (context) => {
            const { reply_to: to, correlation_id: id, body } = context.message;
            sendable(replies).then(
                () => replies.send({ to, correlation_id: id, body: body.toUpperCase() }));
        });
        const answers = await receiver(near, { dynamic: true });
        assert.match(answers.source.address, /^amqp:\/_topo\/0\/.*\/temp\./);
        const s = await sender(near, 'rhea/service');
        await send(s, { body: 'hi', reply_to: answers.source.address, correlation_id: 'one' }, true);
        await count(answers, 1);
        assert.strictEqual(answers.got[0].message.body, 'HI');
        assert.strictEqual(answers.got[0].message.correlation_id, 'one');
    },

    async an_anonymous_sender_names_the_address_in_each_message() {
        const r = await receiver(far, 'rhea/anonymous');
        const s = await sender(near, {});
        assert.strictEqual((await send(s, { to: 'rhea/anonymous', body: 'x' }, true)).event,
            'accepted');
        assert.deepStrictEqual(await count(r, 1), ['x']);
        assert.strictEqual((await send(s, { to: 'rhea/nowhere', body: 'x' })).event, 'released');
        assert.strictEqual((await send(s, { body: 'x' })).event, 'rejected');
    },

    async credit_comes_with_a_consumer() {
        const s = await sender(near, 'rhea/credit');
        assert.strictEqual(s.sendable(), false);
        const r = await receiver(far, 'rhea/credit');
        await send(s, { body: 'now' }, true);
        assert.deepStrictEqual(await count(r, 1), ['now']);
    },

    async large_messages_arrive_whole_settled_or_not() {
        const body = Buffer.alloc(3000000, 'abcdefg');
        const r = await receiver(far, 'rhea/large', { credit_window: 2 });
        const unsettled = await sender(near, 'rhea/large');
        await send(unsettled, { body: 'first' }, true);
        await send(unsettled, { body });
        const settled = await sender(near, 'rhea/large', { snd_settle_mode: 1 });
        await sendable(settled);
        settled.send({ body });
        await count(r, 3);
        for (const context of r.got.slice(1))
            assert.ok(body.equals(context.message.body));
    },

    async drain_takes_what_there_is_and_no_more() {
        const r = await receiver(near, 'rhea/drain', { credit_window: 0 });
        const s = await sender(near, 'rhea/drain');
        r.add_credit(1);
        await send(s, { body: 1 }, true);
        r.drain_credit();
        r.add_credit(10);
        await once(r, 'receiver_drained');
        assert.strictEqual(r.credit, 0);
        assert.strictEqual(r.got.length, 1);
    },

    async an_unavailable_address_refuses_links() {
        const link = connect(near).open_receiver('none/here');
        const context = await once(link, 'receiver_error');
        assert.strictEqual(context.receiver.error.condition, 'amqp:not-found');
    },

    async management_answers_it() {
        const answers = await receiver(near, { dynamic: true });
        const s = await sender(near, '$management');
        await send(s, {
            reply_to: answers.source.address,
            correlation_id: 1,
            application_properties: {
                operation: 'QUERY',
                type: 'org.amqp.management',
                entityType: 'io.skupper.router.router',
            },
            body: { attributeNames: ['id', 'mode'] },
        });
        await count(answers, 1);
        const { message } = answers.got[0];
        assert.strictEqual(message.application_properties.statusCode, 200);
        assert.deepStrictEqual(message.body.attributeNames, ['id', 'mode']);
        assert.strictEqual(message.body.results[0][1], 'interior');
    },
};

if (name === '--list') {
    process.stdout.write(Object.keys(cases).join('\n'));
} else {
    cases[name]().then(() => process.exit(0), (e) => {
        process.stderr.write(`${e.stack}\n`);
        process.exit(1);
    });
}
