import {listTopics} from '/client/index.js'
import {createSharedClient} from '/client/shared/index.js'
import {Conversations} from './conversations.js'
import {ask, byId, element, show} from './dom.js'
import {showInfo} from './info.js'

/** Lines of each room that are there after a reload. */
const HISTORY = 50

/** How often a page tells that somebody is writing. */
const TYPING_EVERY_MS = 2_000

const ROOM = 'room:'

/** Shows everything, from one stream that all tabs of this user share. */
export async function startChat(me, brokers) {
  const token = async () => (await ask('GET', '/token')).token
  const client = createSharedClient({url: brokers, name: `chat of ${me}`, token})
  const conversations = new Conversations((changed) => render(changed))
  const rooms = new Set()
  const online = new Map()
  let people = []
  let current
  /** What is only of the current room: being there, and who else is. */
  let presence
  let typingToldAt = 0

  client.onState(renderConnection)
  client.subscribe({match: `${ROOM}*`}, ({id, topic, value, createdAt}) => heard(topic, id, value, createdAt), {
    from: {last: HISTORY},
    onGap: (gap) => missed(`${ROOM}lobby`, gap),
  })
  client.subscribe(
    `inbox:${me}`,
    ({id, value, createdAt}) => heard(`@${value.from === me ? value.to : value.from}`, id, value, createdAt),
    {from: 'earliest'},
  )
  client.subscribe({match: 'typing:*'}, ({topic, value}) => {
    if (value.from !== me) conversations.isTyping(ROOM + topic.slice('typing:'.length), value.from)
  })

  function heard(conversation, id, {from, text}, at) {
    // Somebody, or some room, that may be newer than this page.
    if (conversation.startsWith('@')) meet([conversation.slice(1)])
    else rooms.add(conversation)
    const isNews = from !== me && (conversation !== current || document.hidden) && Date.now() - Date.parse(at) < 10_000
    conversations.add(conversation, {id, from, text, at}, isNews)
  }

  function missed(conversation, {reason, requested}) {
    conversations.add(conversation, {id: `gap ${requested}`, gap: `Some lines are missing here (${reason}).`})
  }

  /** Those who are not known yet are listed from now on, and watched. */
  function meet(users) {
    const newcomers = users.filter((user) => user !== me && !people.includes(user))
    if (newcomers.length === 0) return
    people = [...people, ...newcomers].sort()
    renderPeople()
    client.status(newcomers, ({user, online: isOnline}) => {
      online.set(user, isOnline)
      renderPeople()
    })
  }

  /** Goes to a conversation. Who names a room in a stream is in it; who leaves it, out of it. */
  function open(conversation) {
    current = conversation
    presence?.close()
    presence = undefined
    if (conversation.startsWith(ROOM)) {
      rooms.add(conversation)
      const being = client.subscribe(conversation, () => {})
      const members = client.presence(conversation, {onChange: renderMembers})
      presence = {
        close() {
          being.unsubscribe()
          members.unsubscribe()
        },
      }
    }
    history.replaceState(null, '', `#${encodeURIComponent(conversation)}`)
    byId('places').classList.remove('is-open')
    byId('menu').setAttribute('aria-expanded', 'false')
    byId('title').textContent = titleOf(conversation)
    byId('roster').hidden = !conversation.startsWith(ROOM)
    byId('lines').replaceChildren()
    render(conversation)
    byId('say').focus()
  }

  function render(changed) {
    renderPlaces()
    if (changed !== current) return
    conversations.read(current)
    renderLines()
    const typing = conversations.typing(current)
    byId('typing').textContent = typing.length
      ? `${typing.join(', ')} ${typing.length > 1 ? 'are' : 'is'} writing …`
      : ''
  }

  function renderLines() {
    const list = byId('lines')
    const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80
    const shown = new Set([...list.children].map((line) => line.dataset.id))
    for (const line of conversations.lines(current)) if (!shown.has(line.id)) list.append(renderLine(line))
    if (isAtEnd) list.scrollTop = list.scrollHeight
  }

  function renderLine({id, from, text, at, gap}) {
    if (gap) return element('li', {className: 'is-gap', textContent: gap, attributes: {'data-id': id}})
    const time = new Date(at).toLocaleTimeString([], {hour: '2-digit', minute: '2-digit'})
    const by = element('span', {className: 'by', textContent: `${from === me ? 'You' : from} · ${time}`})
    const className = from === me ? 'is-own' : ''
    return element(
      'li',
      {className, attributes: {'data-id': id}},
      by,
      element('span', {className: 'text', textContent: text}),
    )
  }

  function renderPlaces() {
    const shown = [...rooms].sort().map((room) => place(room, titleOf(room)))
    show(byId('rooms'), shown)
    renderPeople()
  }

  function renderPeople() {
    const shown = people.map((user) => {
      const isOnline = online.get(user)
      const state = isOnline ? 'online' : 'away'
      const dot = element('span', {
        className: isOnline ? 'dot is-online' : 'dot',
        title: state,
        attributes: {role: 'img', 'aria-label': state},
      })
      return place(`@${user}`, user, dot)
    })
    show(byId('people'), shown)
  }

  function place(conversation, title, ...marks) {
    const unread = conversation === current ? 0 : conversations.unread(conversation)
    const count = unread ? [element('span', {className: 'count', textContent: unread, title: 'unread'})] : []
    const attributes = {'aria-current': String(conversation === current), 'data-conversation': conversation}
    const button = element('button', {attributes}, ...marks, title, ...count)
    button.addEventListener('click', () => open(conversation))
    return element('li', {}, button)
  }

  function renderMembers(members) {
    const ids = [...members.keys()].sort()
    meet(ids)
    const shown = ids.map((id) => element('li', {textContent: id}))
    show(byId('members'), shown)
  }

  function renderConnection(state) {
    const texts = {
      live: `connected to ${state.url}`,
      'catching-up': `connected to ${state.url}, reading on`,
      offline: 'offline, coming back',
      denied: 'not allowed; sign in again',
    }
    byId('connection').textContent = texts[state.kind] ?? 'connecting'
    byId('connection').dataset.state = state.kind
  }

  byId('say-form').addEventListener('submit', async (event) => {
    event.preventDefault()
    const input = byId('say')
    const text = input.value.trim()
    if (!text) return
    input.value = ''
    typingToldAt = 0
    const to = current.startsWith('@') ? {to: current.slice(1)} : {room: current.slice(ROOM.length)}
    try {
      await said({...to, text, key: crypto.getRandomValues(new Uint32Array(4)).join('-')})
    } catch (error) {
      input.value ||= text
      input.setCustomValidity(error.message)
      input.reportValidity()
      input.addEventListener('input', () => input.setCustomValidity(''), {once: true})
    }
  })

  byId('say').addEventListener('input', () => {
    if (!current.startsWith(ROOM) || Date.now() - typingToldAt < TYPING_EVERY_MS) return
    typingToldAt = Date.now()
    ask('POST', '/typing', {room: current.slice(ROOM.length)}).catch(() => {})
  })

  byId('make-room').addEventListener('submit', async (event) => {
    event.preventDefault()
    const input = event.target.elements.room
    const room = input.value.trim()
    try {
      await ask('POST', '/rooms', {room})
      input.value = ''
      open(ROOM + room)
    } catch (error) {
      input.setCustomValidity(error.message)
      input.reportValidity()
      input.addEventListener('input', () => input.setCustomValidity(''), {once: true})
    }
  })

  byId('menu').addEventListener('click', () => {
    const isOpen = byId('places').classList.toggle('is-open')
    byId('menu').setAttribute('aria-expanded', String(isOpen))
  })

  byId('show-info').addEventListener('click', () => showInfo(client))

  // What can be seen can be used: nothing has been waited for so far.
  open(location.hash ? decodeURIComponent(location.hash.slice(1)) : `${ROOM}lobby`)
  for await (const {name} of listTopics(client, {prefix: ROOM})) rooms.add(name)
  renderPlaces()
  meet((await ask('GET', '/people')).people)
}

/** Says it, and again if the answer gets lost: under its key it is stored once. */
async function said(line, tries = 3) {
  try {
    await ask('POST', '/say', line)
  } catch (error) {
    if (tries === 0 || (error.status && error.status < 500)) throw error
    await said(line, tries - 1)
  }
}

function titleOf(conversation) {
  return conversation.startsWith(ROOM) ? conversation.slice(ROOM.length) : conversation.slice(1)
}
