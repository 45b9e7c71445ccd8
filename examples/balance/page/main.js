/** As nodes tell each other of themselves. */
const EVERY_MS = 1_000

const list = document.getElementById('nodes')
const told = document.getElementById('told')

async function order(path, body = {}) {
  told.textContent = ''
  const response = await fetch(path, {method: 'POST', body: JSON.stringify(body)})
  if (!response.ok) told.textContent = await response.text()
  await look()
}

async function look() {
  const response = await fetch('/scene')
  if (!response.ok) return
  const {nodes, leader} = await response.json()
  for (const node of nodes) render(node, leader)
}

function render({id, clientUrl, role, state, cpu, cores, connections, isBusy, newcomers}, leader) {
  let item = document.getElementById(`node-${id}`)
  if (!item) {
    item = document.createElement('li')
    item.id = `node-${id}`
    item.innerHTML = `<h2></h2><p class="faint"></p><meter min="0" max="1" aria-label="Load"></meter>
      <p><span class="newcomers"></span> newcomers</p><button></button>`
    item.querySelector('button').addEventListener('click', ({target}) => {
      order('/load', {url: clientUrl, isBusy: target.getAttribute('aria-pressed') !== 'true'})
    })
    list.append(item)
  }
  const load = cpu === undefined ? 'load unknown' : `${Math.round(cpu * 100)} % of ${cores} processors`
  item.querySelector('h2').textContent = `Node ${id}, ${id === leader ? 'leader' : role}`
  item.querySelector('.faint').textContent = `${clientUrl}: ${state}, ${load}, ${connections} connections`
  item.querySelector('meter').value = cpu ?? 0
  item.querySelector('.newcomers').textContent = newcomers
  const button = item.querySelector('button')
  button.textContent = isBusy ? 'Leave it alone' : 'Keep it busy'
  button.setAttribute('aria-pressed', String(isBusy))
}

document.getElementById('invite').addEventListener('click', () => order('/invite', {count: 30}))
document.getElementById('dismiss').addEventListener('click', () => order('/dismiss'))
look()
setInterval(() => look().catch(() => {}), EVERY_MS)
