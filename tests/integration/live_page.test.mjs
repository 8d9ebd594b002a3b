// SPDX-License-Identifier: Apache-2.0
// The live page in a real browser, against the demo and a server of its own.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startBrowser } from '../conformance/lib/browser.mjs';
import { Process, adminToken, program, startServer } from '../conformance/lib/server.mjs';
import { tokenFor } from '../conformance/lib/tokens.mjs';
import { sleep, until, within } from '../conformance/lib/wait.mjs';

const { browser, why } = await startBrowser();
after(() => browser?.close());
const options = browser ? {} : { skip: why };

// A page that notes what must not happen: errors, refusals by its policy, requests that leave the host.
// `blocked`: where it is, no WebSocket comes through.
async function openPage(address, { blocked = false } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  if (blocked) {
    await context.addInitScript(() => {
      window.WebSocket = class {
        constructor() { setTimeout(() => this.onclose?.({ code: 1006, reason: '' }), 20); }
        close() {}
      };
    });
  }
  const page = await context.newPage();
  page.problems = [];
  const own = new URL(address).hostname;
  page.on('pageerror', (error) => page.problems.push(`error: ${error.stack}`));
  page.on('console', (message) => {
    // A connection that is refused while the server is away is told here too.
    if (message.type() === 'error' && !/WebSocket connection|Failed to load resource/.test(message.text())) page.problems.push(message.text());
  });
  page.on('request', (request) => {
    const { protocol, hostname } = new URL(request.url());
    if (protocol !== 'data:' && hostname !== own) page.problems.push(`a request to ${request.url()}`);
  });
  page.on('websocket', (socket) => {
    if (new URL(socket.url()).hostname !== own) page.problems.push(`a WebSocket to ${socket.url()}`);
  });
  await page.goto(address);
  return page;
}
const inState = (page, state, ms = 20_000) => page.waitForSelector(`body[data-state="${state}"]`, { state: 'attached', timeout: ms });
const inWorld = (page, ms) => inState(page, 'inWorld', ms);
// Notes the states of the page's client from now on: one that lasts a second is missed by whoever looks now and then.
const noteStates = (page) => page.evaluate(() => {
  window.states = [];
  window.live.client.on('state', ({ to }) => window.states.push(to));
});
const cameBack = (page, ms) => page.waitForFunction(
  () => window.states.includes('reconnecting') && window.states.at(-1) === 'inWorld', undefined, { polling: 100, timeout: ms });
const position = (page) => page.evaluate(() => ({ ...window.live.client.prediction.position }));
const stats = (page) => page.evaluate(() => {
  const { receivedByType, sentByType, ...rest } = window.live.client.stats();
  return rest;
});
const evaluated = (page, what, script, ...rest) => until(() => page.evaluate(script, ...rest), what, 20_000);

describe('the demo', options, () => {
  let demo;
  let address;
  let page;
  before(async () => {
    demo = new Process(program('tidegate'), ['demo', '--bots', '40', '--headless', '--listen.websocket=127.0.0.1:0', '--admin.listen=127.0.0.1:0']);
    [, address] = await demo.line(/^live page: (http:\S+)$/m);
    page = await openPage(address);
  });
  after(async () => {
    await page?.context().close();
    await demo.stop('SIGINT');
  });

  test('the first line is the address of the page', () => {
    assert.match(demo.output, /^live page: http:\/\/127\.0\.0\.1:\d+\/\n/);
  });
  test('it logs in by itself and shows the bots', async () => {
    await inWorld(page);
    await evaluated(page, 'bots in view', () => window.live.client.world.entities.size > 20);
    await evaluated(page, 'dots drawn', () => window.live.map.drawn > 5);
    assert.match(await page.textContent('#figures'), /live-/);
  });
  test('others move', async () => {
    const places = () => page.evaluate(() => {
      const at = {};
      window.live.client.eachRemote(performance.now(), (entity, pose) => { at[entity.id] = [pose.x, pose.z]; });
      return at;
    });
    const before = await places();
    await until(async () => {
      const now = await places();
      return Object.keys(before).filter((id) => now[id] && Math.hypot(now[id][0] - before[id][0], now[id][1] - before[id][1]) > 1).length > 10;
    }, 'ten bots a metre further', 20_000);
  });
  test('where WebSocket is blocked it plays by long polling', async () => {
    const other = await openPage(address, { blocked: true });
    await inWorld(other, 60_000);
    assert.equal(await other.evaluate(() => window.live.client.connection.transport), 'polling');
    const from = await position(other);
    await other.keyboard.down('KeyD');
    await until(async () => (await position(other)).x - from.x > 2, '2 m', 20_000);
    await other.keyboard.up('KeyD');
    await evaluated(other, 'the server at the predicted place', () => window.live.client.prediction.stats(performance.now()).pending === 0);
    await evaluated(other, 'bots in view', () => window.live.client.world.entities.size > 20);
    assert.deepEqual(other.problems, []);
    await other.context().close();
  });
  for (const [key, axis, sign] of [['KeyW', 'z', -1], ['ArrowDown', 'z', 1], ['KeyA', 'x', -1], ['ArrowRight', 'x', 1]]) {
    test(`${key} walks, and the server follows`, async () => {
      const from = await position(page);
      await page.keyboard.down(key);
      await until(async () => sign * ((await position(page))[axis] - from[axis]) > 2, '2 m', 20_000);
      await page.keyboard.up(key);
      await evaluated(page, 'the server at the predicted place', () => {
        const { self, prediction } = window.live.client;
        return prediction.stats(performance.now()).pending === 0
          && Math.hypot(self.x - prediction.position.x, self.z - prediction.position.z) < 0.05;
      });
    });
  }
  test('the mouse held on the map walks there', async () => {
    const from = await position(page);
    const map = await page.locator('#map').boundingBox();
    await page.mouse.move(map.x + map.width / 2 + 150, map.y + map.height / 2 + 150);
    await page.mouse.down();
    await until(async () => {
      const to = await position(page);
      return to.x - from.x > 1 && to.z - from.z > 1;
    }, 'a metre each way', 20_000);
    await page.mouse.up();
    await evaluated(page, 'it stands', () => window.live.client.prediction.stats(performance.now()).pending === 0);
  });
  test('nothing was corrected, no checksum was wrong', async () => {
    const s = await stats(page);
    assert.deepEqual([s.refusedMoves, s.corrections, s.world.checksumMismatches, s.world.malformed, s.world.strays], [0, 0, 0, 0, 0]);
    assert.ok(s.world.checksums > 0);
  });
  test('cheating is refused, and the player shown where the server holds it', async () => {
    const from = await position(page);
    await page.keyboard.down('Space');
    await page.keyboard.down('KeyD');
    await evaluated(page, 'refusals', () => window.live.client.stats().refusedMoves > 3);
    await page.keyboard.up('KeyD');
    await page.keyboard.up('Space');
    await evaluated(page, 'prediction, picture and server at one place', () => {
      const { self, prediction } = window.live.client;
      const shown = prediction.shown(performance.now());
      return prediction.stats(performance.now()).pending === 0
        && Math.hypot(self.x - prediction.position.x, self.z - prediction.position.z) < 0.05
        && Math.hypot(shown.x - prediction.position.x, shown.z - prediction.position.z) < 0.05;
    });
    assert.ok((await stats(page)).corrections > 0);
    const went = await position(page);
    await page.keyboard.down('KeyA');
    await until(async () => went.x - (await position(page)).x > 1, 'it walks on from there', 20_000);
    await page.keyboard.up('KeyA');
    assert.ok(went.x > from.x - 0.1);
  });
  test('a preset changes what the graphs show, and back', async () => {
    await page.keyboard.press('Digit2');
    assert.ok(await page.isVisible('#graphs'));
    const rtt = () => page.evaluate(() => window.live.overlay.graphs.rtt.last[0]);
    const calm = await rtt();
    await page.click('#presets button[data-name="far"]');
    await until(async () => await rtt() > 200, 'a round trip of a far network', 30_000);
    await until(async () => /round trip: now [2-9]\d\d/.test(await page.textContent('#graphs')), 'the graph says so');
    await page.click('#presets button[data-name="train"]');
    await evaluated(page, 'more delay', () => window.live.overlay.graphs.delay.last[0] > 120);
    await page.click('#presets button[data-name="local"]');
    await until(async () => await rtt() < calm + 100, 'a calm round trip', 40_000);
  });
  test('overlay levels 0 to 4', async () => {
    for (const [level, shown] of [[0, []], [1, ['#line']], [2, ['#line', '#graphs']], [3, ['#line', '#graphs', '#channels']],
      [4, ['#line', '#graphs', '#channels']]]) {
      await page.click(`#levels button[data-name="${level}"]`);
      for (const id of ['#line', '#graphs', '#channels']) assert.equal(await page.isVisible(id), shown.includes(id), `${id} at ${level}`);
    }
    await until(async () => /CELL_FRAME/.test(await page.textContent('#channels')), 'traffic by message');
    await page.waitForSelector('text=prediction:');
  });
  test('on a phone the panel stands below the map', async () => {
    await page.setViewportSize({ width: 400, height: 740 });
    const map = await page.locator('#map').boundingBox();
    const panel = await page.locator('aside').boundingBox();
    assert.equal(map.width, 400);
    assert.ok(map.height > 300 && panel.y >= map.y + map.height - 1, JSON.stringify([map, panel]));
    await page.setViewportSize({ width: 1280, height: 800 });
  });
  test('the other encoding', async () => {
    await page.click('#encodings button[data-name="protobuf"]');
    await evaluated(page, 'bots in view', () => window.live.client.state === 'inWorld' && window.live.client.world.entities.size > 20);
    assert.ok(await page.evaluate(() => window.live.client.world.cellCount === 0));
    await page.click('#encodings button[data-name="packed"]');
    await evaluated(page, 'bots in view', () => window.live.client.world.cellCount > 0 && window.live.client.world.entities.size > 20);
  });
  test('a cut: it comes back as the same player, where it was', async () => {
    const id = await page.evaluate(() => window.live.client.playerId);
    const from = await position(page);
    await noteStates(page);
    await page.click('#drop');
    await cameBack(page, 60_000);
    assert.equal(await page.evaluate(() => window.live.client.playerId), id);
    await evaluated(page, 'the own entity', () => window.live.client.self !== undefined);
    const to = await position(page);
    assert.ok(Math.hypot(to.x - from.x, to.z - from.z) < 0.1, JSON.stringify([from, to]));
  });
  test('no error, nothing that its policy refuses, no request that leaves the host', () => {
    assert.deepEqual(page.problems, []);
  });
});

describe('a server of one\'s own', options, () => {
  const admin = { listen: '127.0.0.1:0', token: adminToken, live_page: true };
  const logIn = async (page, token) => {
    await page.waitForSelector('#login:not([hidden])');
    await page.fill('#token', token);
    await page.click('#login button');
  };
  test('with the admin token; the page comes back as the same player when the server is restarted', async (t) => {
    const first = await startServer({ admin });
    t.after(() => first.reap());
    const page = await openPage(`${first.adminUrl}/`);
    await logIn(page, 'a wrong one');
    await page.waitForSelector('text=that was not the admin token');
    await logIn(page, adminToken);
    await inWorld(page);
    await page.waitForSelector('text=server: entities');
    const id = await page.evaluate(() => window.live.client.playerId);
    const { port, adminPort } = first;
    await noteStates(page);
    await first.stop();
    const second = await startServer({
      listen: { websocket: `127.0.0.1:${port}` }, admin: { ...admin, listen: `127.0.0.1:${adminPort}` },
    });
    t.after(() => second.reap());
    await cameBack(page, 120_000);
    assert.equal(await page.evaluate(() => window.live.client.playerId), id);
    await evaluated(page, 'the own entity alone', () => window.live.client.self !== undefined && window.live.client.world.entities.size === 1);
    assert.deepEqual(page.problems, []);
    await page.context().close();
    await second.stop();
  });
  test('without an admin token the page asks for a player\'s own', async (t) => {
    const server = await startServer({ admin: { ...admin, token: undefined } });
    t.after(() => server.reap());
    const page = await openPage(`${server.adminUrl}/`);
    await logIn(page, await tokenFor('by-hand'));
    await inWorld(page);
    assert.equal(await page.evaluate(() => window.live.client.playerId), 'by-hand');
    await page.context().close();
    await server.stop();
  });
});

test('ten thousand dots are drawn', options, async (t) => {
  const server = await startServer({ admin: { listen: '127.0.0.1:0', live_page: true } });
  t.after(() => server.reap());
  const page = await openPage(`${server.adminUrl}/?dots=10000`);
  await page.evaluate(() => { window.live.map.scale = 1.5; });
  await evaluated(page, 'the dots', () => window.live.map.drawn > 9000 && window.live.fps > 0);
  await sleep(2000);
  const { fps, drawMs } = await page.evaluate(() => ({ fps: window.live.fps, drawMs: window.live.drawMs }));
  // Squares of two by two pixels, some over others, on what is background otherwise.
  const lit = await page.evaluate(() => {
    const { canvas, context } = window.live.map;
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let i = 0; i < data.length; i += 4) count += data[i] === 0x5c && data[i + 1] === 0xb3 && data[i + 2] === 0xff;
    return count;
  });
  assert.ok(lit > 20_000 && lit <= 40_000, `${lit} pixels are dots`);
  console.log(`10,000 dots: ${fps.toFixed(1)} pictures a second, ${drawMs.toFixed(2)} ms of script each (no GPU)`);
  await page.context().close();
  await within(server.stop(), 'the end');
});
