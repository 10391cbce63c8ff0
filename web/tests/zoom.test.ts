import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clampView, Gestures, swipeDirection, zoomAt } from '../src/engine/gestures.ts';
import { attachLater, type View, type ZoomOptions } from '../src/engine/zoom.ts';
import { settle } from './support.ts';

test('the point under the fingers stays there', () => {
  for (const [z, px, py] of [
    [3, 0.2, -0.1],
    [1.5, 0.4, 0.4],
    [6, -0.5, 0.5],
  ] as const) {
    const view = zoomAt({ z: 1, x: 0, y: 0 }, z, px, py);
    assert.ok(Math.abs((px - view.x) / view.z - px) < 1e-9 && Math.abs((py - view.y) / view.z - py) < 1e-9);
  }
});

test('no picture leaves its tile', () => {
  assert.deepEqual(clampView({ z: 2, x: 9, y: -9 }), { z: 2, x: 0.5, y: -0.5 });
  const { z, x, y } = clampView({ z: 1, x: 9, y: -9 });
  assert.deepEqual([z, Math.abs(x), Math.abs(y)], [1, 0, 0]);
});

test('a swipe goes sideways, far or fast', () => {
  assert.equal(swipeDirection(-120, 10, 900, 390), 1);
  assert.equal(swipeDirection(120, 10, 900, 390), -1);
  assert.equal(swipeDirection(30, 4, 50, 390), -1);
  assert.equal(swipeDirection(30, 0, 900, 390), 0);
  assert.equal(swipeDirection(20, 0, 10, 390), 0);
  assert.equal(swipeDirection(100, 90, 200, 390), 0);
});

/** A stage of 390 x 600 with one tile as large, on a page that counts what it is asked to do. */
function setUp(enabled = () => true) {
  const heard: unknown[] = [];
  const page = Object.assign(new EventTarget(), { innerWidth: 390 });
  const rect = { left: 0, top: 0, width: 390, height: 600 } as DOMRect;
  const style = new Map<string, string>();
  const stage = Object.assign(new EventTarget(), {
    clientWidth: 390,
    style: { setProperty: (name: string, value: string) => style.set(name, value) },
    toggleAttribute: () => true,
    closest: () => null,
    getBoundingClientRect: () => rect,
    ownerDocument: { defaultView: page, elementFromPoint: () => null },
  });
  let view: View | null = null;
  const options: ZoomOptions = {
    onSwipe: (direction) => heard.push(['swipe', direction]),
    onDrag: (dx) => heard.push(['drag', dx]),
    onTap: (_, stamp) => heard.push(['tap', stamp]),
    onDouble: () => heard.push('double'),
    onLongPress: (_, stamp) => heard.push(['long', stamp]),
    onView: (now) => (view = now),
    enabled,
  };
  const element = stage as unknown as HTMLElement;
  const zoom = new Gestures(element, options);
  const send = (type: string, x: number, y: number, stamp: number, extra: object = {}) => {
    const event = new Event(type, { cancelable: true });
    const init = { clientX: x, clientY: y, pointerId: 1, pointerType: 'touch', button: 0, ...extra };
    for (const [name, value] of Object.entries({ ...init, timeStamp: stamp }))
      Object.defineProperty(event, name, { value });
    // As in a browser: what begins on the stage is heard there, the rest on the page.
    if (type === 'pointerdown' || type === 'wheel') stage.dispatchEvent(event);
    else page.dispatchEvent(event);
    return event;
  };
  const tap = (x: number, y: number, stamp: number) => {
    send('pointerdown', x, y, stamp);
    send('pointerup', x, y, stamp + 40);
  };
  return { zoom, heard, send, tap, style, element, options, view: () => view as unknown as View };
}

test('a tap is heard with the moment of the touch', () => {
  const { tap, heard, zoom } = setUp();
  tap(100, 100, 1_000);
  assert.deepEqual(heard, [['tap', 1_000]]);
  zoom.destroy();
  tap(100, 100, 3_000);
  assert.equal(heard.length, 1);
});

test('a double tap zooms where it fell and out again; a third tap is a tap', () => {
  const { tap, heard, zoom, style } = setUp();
  tap(195, 300, 1_000);
  tap(200, 302, 1_200);
  assert.deepEqual([heard, zoom.view.z], [[['tap', 1_000], 'double'], 2.5]);
  assert.equal(style.get('--z'), '2.5');
  tap(195, 300, 1_300);
  tap(195, 300, 1_500);
  assert.deepEqual([heard.slice(2), zoom.view], [[['tap', 1_300], 'double'], { z: 1, x: 0, y: 0 }]);
});

test('how long the second finger rests does not make two taps of a double tap', () => {
  const { tap, send, heard } = setUp();
  tap(195, 300, 1_000);
  send('pointerdown', 195, 300, 1_280);
  send('pointerup', 195, 300, 1_420);
  assert.deepEqual(heard, [['tap', 1_000], 'double']);
});

test('that a finger is down is told before what it means, and that all are up too', () => {
  const { send, heard, options } = setUp();
  options.onTouch = (isDown) => heard.push(isDown ? 'down' : 'up');
  send('pointerdown', 100, 100, 0);
  send('pointerup', 100, 100, 40);
  send('pointerdown', 300, 100, 1_000);
  send('pointerdown', 200, 100, 1_010, { pointerId: 2 });
  send('pointerup', 200, 100, 1_100, { pointerId: 2 });
  send('pointercancel', 300, 100, 1_200);
  assert.deepEqual(heard, ['down', 'up', ['tap', 0], 'down', 'up']);
});

test('two taps that are far apart in time or place are two taps', () => {
  const { tap, heard } = setUp();
  tap(100, 100, 1_000);
  tap(100, 100, 1_400);
  tap(200, 100, 1_500);
  assert.deepEqual(heard, [
    ['tap', 1_000],
    ['tap', 1_400],
    ['tap', 1_500],
  ]);
});

test('a swipe follows the finger and ends in a direction; one from the edge is the browser’s', () => {
  const { send, heard } = setUp();
  send('pointerdown', 320, 300, 0);
  send('pointermove', 250, 305, 50);
  send('pointermove', 80, 305, 100);
  send('pointerup', 80, 305, 120);
  assert.deepEqual(heard, [
    ['drag', -70],
    ['drag', -240],
    ['drag', 0],
    ['swipe', 1],
  ]);
  heard.length = 0;
  send('pointerdown', 6, 300, 1_000);
  send('pointermove', 300, 300, 1_050);
  send('pointerup', 300, 300, 1_100);
  assert.deepEqual(heard, []);
});

test('a pinch zooms at most sixfold and never ends in a swipe; what is zoomed is panned', () => {
  const { send, heard, zoom, view } = setUp();
  send('pointerdown', 180, 300, 0);
  send('pointerdown', 210, 300, 10, { pointerId: 2 });
  send('pointermove', 0, 300, 20);
  send('pointermove', 389, 300, 30, { pointerId: 2 });
  assert.equal(view().z, 6);
  send('pointerup', 389, 300, 40, { pointerId: 2 });
  send('pointerup', 0, 300, 50);
  assert.deepEqual(
    heard.filter((one) => Array.isArray(one) && one[0] === 'swipe'),
    [],
  );
  const before = zoom.view;
  send('pointerdown', 200, 300, 1_000);
  send('pointermove', 239, 300, 1_050);
  send('pointerup', 239, 300, 1_060);
  assert.ok(Math.abs(zoom.view.x - before.x - 0.1) < 1e-9);
  assert.deepEqual(
    heard.filter((one) => Array.isArray(one) && one[0] === 'swipe'),
    [],
  );
  zoom.reset();
  assert.deepEqual(zoom.view, { z: 1, x: 0, y: 0 });
});

test('a long press is heard once, after half a second without a move, and is no tap', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const { send, heard } = setUp();
  send('pointerdown', 100, 100, 5);
  context.mock.timers.tick(499);
  assert.deepEqual(heard, []);
  context.mock.timers.tick(1);
  send('pointerup', 100, 100, 700);
  assert.deepEqual(heard, [['long', 5]]);
  send('pointerdown', 100, 100, 1_000);
  send('pointermove', 120, 100, 1_100);
  context.mock.timers.tick(600);
  send('pointercancel', 120, 100, 1_200);
  assert.deepEqual(heard.slice(1), [
    ['drag', 20],
    ['drag', 0],
  ]);
});

test('ctrl and wheel zoom at a desk; the wheel alone only where it is zoomed', () => {
  const { send, zoom } = setUp();
  assert.equal(send('wheel', 100, 100, 0, { deltaY: -100 }).defaultPrevented, false);
  const event = send('wheel', 100, 100, 0, { deltaY: -100, ctrlKey: true });
  assert.ok(event.defaultPrevented && zoom.view.z > 1.5);
  zoom.toggle();
  assert.equal(zoom.view.z, 1);
  zoom.toggle();
  assert.equal(zoom.view.z, 2.5);
});

test('while it is not enabled nothing is heard', () => {
  const { tap, heard } = setUp(() => false);
  tap(100, 100, 1_000);
  assert.deepEqual(heard, []);
});

test('other buttons of a mouse are not ours', () => {
  const { send, heard } = setUp();
  send('pointerdown', 100, 100, 0, { pointerType: 'mouse', button: 2 });
  send('pointerup', 100, 100, 10, { pointerType: 'mouse', button: 2 });
  assert.deepEqual(heard, []);
});

test('the code of the gestures comes by itself, and not to a stage that is gone', async () => {
  const { zoom, element, options, tap, heard } = setUp();
  zoom.destroy();
  const coming = import('../src/engine/gestures.ts').then((loaded) => () => new loaded.Gestures(element, options));
  const attached = attachLater(coming);
  const gone = attachLater(coming);
  gone.destroy();
  assert.deepEqual(attached.view, { z: 1, x: 0, y: 0 });
  await settle();
  tap(100, 100, 1_000);
  assert.deepEqual(heard, [['tap', 1_000]]);
  attached.toggle();
  assert.equal(attached.view.z, 2.5);
  attached.reset();
  attached.destroy();
  tap(100, 100, 5_000);
  assert.equal(heard.length, 1);
});
