import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Change, History, isAcknowledged, type Outcome } from './history.ts'
import { imageOf, type SimImage } from './images.ts'

const [FIRST, SECOND] = [imageOf('first', ['a']), imageOf('second', ['b'])]

test('a tag may not be gone after a push that was acknowledged', () => {
  const history = new History()
  asked(history, 'push', FIRST, 'acknowledged')
  assert.match(said(history, undefined) ?? '', /push of app:v1 \(first\) at 1 ms is lost/)
})

test('a tag may be gone where it was deleted after all that this node had to know', () => {
  const history = new History()
  asked(history, 'push', FIRST, 'acknowledged')
  asked(history, 'unlink', FIRST, 'warned')
  // On the other side of a split, which this node has not heard of.
  const elsewhere = asked(history, 'push', SECOND, 'acknowledged')
  assert.equal(
    said(history, undefined, change => isAcknowledged(change) && change !== elsewhere),
    undefined
  )
  assert.match(said(history, undefined) ?? '', /push of app:v1 \(second\) at 3 ms is lost/)
})

test('a tag may not say what was replaced, to those who had to know', () => {
  const history = new History()
  asked(history, 'push', FIRST, 'acknowledged')
  const second = asked(history, 'push', SECOND, 'acknowledged')
  second.replaced = FIRST.digest
  assert.match(said(history, FIRST) ?? '', /push of app:v1 \(second\) at 2 ms replaced it/)
  assert.equal(
    said(history, FIRST, change => isAcknowledged(change) && change !== second),
    undefined
  )
})

test('a tag may not say what nobody pushed', () => {
  const history = new History()
  asked(history, 'push', FIRST, 'acknowledged')
  assert.equal(said(history, SECOND), 'nobody pushed that')
})

/** Each lasts no time, and the next begins a millisecond later. */
function asked(history: History, kind: Change['kind'], image: SimImage, outcome: Outcome): Change {
  const beganMs = history.changes.length + 1
  const change = history.begin({
    ...{ kind, repository: 'app', tag: 'v1', image, boot: 'here', beganMs }
  })
  change.endedMs = beganMs
  change.outcome = outcome
  return change
}

function said(history: History, image?: SimImage, binds = isAcknowledged): string | undefined {
  return history.contradiction('app', 'v1', image?.digest, binds)
}
