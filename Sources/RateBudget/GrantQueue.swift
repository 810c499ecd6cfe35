import PriorityQueue

/// The requests that wait, in the order in which they are served.
///
/// Three levels: priority classes (strict, with ageing), fleets inside a class (start-time fair queueing by weight),
/// clients inside a fleet (round robin, so that a pod with many requests doesn't starve the others). Each operation
/// takes logarithmic time; nothing walks the queue. Entries that were cancelled or promoted stay in the queues as dead
/// tickets until they surface or make up half of a queue.
struct GrantQueue: Sendable {
  /// A place in `slots` that may have been reused since.
  struct Ticket: Hashable, Sendable {
    /// The place.
    var slot: Int
    /// Which use of the place.
    var generation: UInt32
  }

  /// A waiting request.
  struct Waiting: Sendable {
    /// What is asked for.
    var request: GrantRequest
    /// Whose share it comes out of.
    var fleet: Int
    /// Who asked.
    var client: Int
    /// The class in which it waits now; 0 is served first.
    var level: Int
    /// When it was submitted first.
    var submitted: BudgetTime
    /// Since when it is the next of its class without fitting.
    var blockedSince: BudgetTime?
    /// How often upstream has answered it 429.
    var attempt: Int
    /// Whether it waits for a time before it stands in line.
    var isDelayed: Bool
    /// Whether it is of the most urgent class by itself: ageing moves a request up the line, not into the reserve.
    var isInteractive = false
  }

  /// A fleet's books.
  struct Fleet: Sendable {
    /// Its name.
    var name: String
    /// Its part of the budget in proportion to the others' weights.
    var weight: Int64
    /// The virtual time at which its next request starts.
    var tag: Int64 = 0
    /// What settled requests used more (or less) than they were charged, in virtual time; goes into the next tag.
    var correction: Int64 = 0
    /// How many of its requests wait.
    var waiting = 0
    /// What its waiting requests ask for.
    var demand = PerDimension<Int64>.zero
    /// The clients in line, for each class.
    fileprivate var rings: [RingDeque<Int>]
    fileprivate var isInHeap: [Bool]
  }

  /// A client's books.
  struct Client: Sendable {
    /// Its name.
    var name: String
    /// Its fleet.
    var fleet: Int
    /// How many of its requests wait.
    var waiting = 0
    fileprivate var queues: [RingDeque<Ticket>]
    fileprivate var isInRing: [Bool]
  }

  private struct Flow: Comparable, Sendable {
    var tag: Int64
    var fleet: Int

    static func < (left: Flow, right: Flow) -> Bool {
      left.tag != right.tag ? left.tag < right.tag : left.fleet < right.fleet
    }
  }

  private static let levels = Priority.allCases.count
  /// The fleets, in the order of their first request.
  private(set) var fleets: [Fleet] = []
  /// The clients, in the order of their first request; a removed one leaves a gap that is used again.
  private(set) var clients: [Client?] = []
  /// How many requests wait, delayed ones as well.
  private(set) var count = 0
  /// The largest start tag served so far.
  private var virtualTime: Int64 = 0
  private var slots: [(waiting: Waiting?, generation: UInt32)] = []
  private var freeSlots: [Int] = []
  private var freeClients: [Int] = []
  private var fleetIndex: [String: Int] = [:]
  private var clientIndex: [String: Int] = [:]
  private var ticketIndex: [GrantID: Ticket] = [:]
  private var flows = [BinaryHeap<Flow>](repeating: BinaryHeap(), count: levels)
  private var deadlines = BinaryHeap<Timed>()
  private var promotions = BinaryHeap<Timed>()
  private var delays = BinaryHeap<Timed>()
  private var order: UInt64 = 0
  private let ageing: Int64

  /// Makes a queue in which a request rises by one class for each `ageing` that it has waited.
  init(ageing: Duration) {
    self.ageing = ageing.wholeNanoseconds
  }

  // MARK: Books

  /// The fleet of a name; made when it is new.
  mutating func fleet(named name: String, weight: Int64) -> Int {
    if let index = fleetIndex[name] { return index }
    fleets.append(
      Fleet(
        name: name, weight: max(weight, 1), rings: Array(repeating: RingDeque(), count: Self.levels),
        isInHeap: Array(repeating: false, count: Self.levels)))
    fleetIndex[name] = fleets.count - 1
    return fleets.count - 1
  }

  /// The fleet of a name, if there is one.
  func fleet(named name: String) -> Int? { fleetIndex[name] }

  /// Changes a fleet's weight.
  mutating func setWeight(_ weight: Int64, fleet: Int) {
    fleets[fleet].weight = max(weight, 1)
  }

  /// Adds what a fleet used more than it was charged, in nanoseconds of the whole budget.
  mutating func correct(fleet: Int, by cost: Int64) {
    fleets[fleet].correction = fleets[fleet].correction.addingSaturated(cost / fleets[fleet].weight)
  }

  /// The client of a name; made when it is new.
  mutating func client(named name: String, fleet: Int) -> Int {
    if let index = clientIndex[name] {
      if let books = clients[index], books.fleet != fleet, books.waiting == 0 {
        leaveRings(client: index)
        clients[index] = nil
        clients[index] = Self.books(named: name, fleet: fleet)
      }
      return index
    }
    let client = Self.books(named: name, fleet: fleet)
    let index: Int
    if let free = freeClients.popLast() {
      clients[free] = client
      index = free
    } else {
      clients.append(client)
      index = clients.count - 1
    }
    clientIndex[name] = index
    return index
  }

  private static func books(named name: String, fleet: Int) -> Client {
    Client(
      name: name, fleet: fleet, queues: Array(repeating: RingDeque(), count: levels),
      isInRing: Array(repeating: false, count: levels))
  }

  private mutating func leaveRings(client index: Int) {
    guard let books = clients[index] else { return }
    for level in 0..<Self.levels where books.isInRing[level] {
      fleets[books.fleet].rings[level].keep { $0 != index }
    }
  }

  /// The client of a name, if there is one.
  func client(named name: String) -> Int? { clientIndex[name] }

  /// How many clients there are.
  var clientCount: Int { clientIndex.count }

  /// Forgets a client without waiting requests; whether it was forgotten.
  mutating func forget(client name: String) -> Bool {
    guard let index = clientIndex[name], let client = clients[index], client.waiting == 0 else { return false }
    leaveRings(client: index)
    clients[index] = nil
    clientIndex[name] = nil
    freeClients.append(index)
    return true
  }

  // MARK: Requests

  /// The request of a ticket, if it still waits.
  func waiting(_ ticket: Ticket) -> Waiting? {
    slots[ticket.slot].generation == ticket.generation ? slots[ticket.slot].waiting : nil
  }

  /// The ticket of an id, if it waits.
  func ticket(of id: GrantID) -> Ticket? { ticketIndex[id] }

  /// The waiting requests of a client, by number.
  func waitingIDs(ofClient name: String) -> [GrantID] {
    ticketIndex.keys.filter { $0.client == name }.sorted()
  }

  /// All waiting requests in the order of their names.
  var waitingIDs: [GrantID] { ticketIndex.keys.sorted() }

  /// Puts a request in line; with `notBefore` at the head of its client's line when that time comes.
  mutating func add(_ waiting: Waiting, notBefore: BudgetTime? = nil, now: BudgetTime) {
    let slot: Int
    if let free = freeSlots.popLast() {
      slot = free
      slots[slot].waiting = waiting
    } else {
      slot = slots.count
      slots.append((waiting, 0))
    }
    let ticket = Ticket(slot: slot, generation: slots[slot].generation)
    ticketIndex[waiting.request.id] = ticket
    count += 1
    if fleets[waiting.fleet].waiting == 0 {
      fleets[waiting.fleet].tag = max(fleets[waiting.fleet].tag, virtualTime)
    }
    fleets[waiting.fleet].waiting += 1
    fleets[waiting.fleet].demand = fleets[waiting.fleet].demand + waiting.request.estimate.amounts
    clients[waiting.client]?.waiting += 1
    schedule(ticket, at: waiting.request.deadline, in: \.deadlines)
    if let notBefore, notBefore > now {
      slots[slot].waiting?.isDelayed = true
      schedule(ticket, at: notBefore, in: \.delays)
    } else {
      line(ticket, atHead: waiting.attempt > 0, now: now)
    }
  }

  private mutating func schedule(
    _ ticket: Ticket, at time: BudgetTime, in heap: WritableKeyPath<GrantQueue, BinaryHeap<Timed>>
  ) {
    order += 1
    self[keyPath: heap].push(Timed(at: time, order: order, ticket: ticket))
    guard self[keyPath: heap].count > 2 * count + 1024 else { return }
    let slots = slots
    self[keyPath: heap].keep {
      slots[$0.ticket.slot].generation == $0.ticket.generation && slots[$0.ticket.slot].waiting != nil
    }
  }

  private mutating func line(_ ticket: Ticket, atHead: Bool, now: BudgetTime) {
    guard let waiting = waiting(ticket) else { return }
    let level = waiting.level
    if atHead {
      clients[waiting.client]?.queues[level].prepend(ticket)
    } else {
      clients[waiting.client]?.queues[level].append(ticket)
      compact(client: waiting.client, level: level)
    }
    if clients[waiting.client]?.isInRing[level] == false {
      clients[waiting.client]?.isInRing[level] = true
      if atHead {
        fleets[waiting.fleet].rings[level].prepend(waiting.client)
      } else {
        fleets[waiting.fleet].rings[level].append(waiting.client)
      }
    }
    if !fleets[waiting.fleet].isInHeap[level] {
      fleets[waiting.fleet].isInHeap[level] = true
      flows[level].push(Flow(tag: fleets[waiting.fleet].tag, fleet: waiting.fleet))
    }
    guard level > 0, ageing > 0 else { return }
    schedule(ticket, at: BudgetTime(nanoseconds: now.nanoseconds.addingSaturated(ageing)), in: \.promotions)
  }

  private mutating func compact(client: Int, level: Int) {
    guard let books = clients[client], books.queues[level].count > 2 * books.waiting + 16 else { return }
    let slots = slots
    clients[client]?.queues[level].keep {
      slots[$0.slot].generation == $0.generation && slots[$0.slot].waiting?.level == level
    }
  }

  /// Takes a request out of the queue, if it still waits.
  @discardableResult
  mutating func remove(_ ticket: Ticket) -> Waiting? {
    guard let waiting = waiting(ticket) else { return nil }
    slots[ticket.slot].waiting = nil
    slots[ticket.slot].generation &+= 1
    freeSlots.append(ticket.slot)
    ticketIndex[waiting.request.id] = nil
    count -= 1
    fleets[waiting.fleet].waiting -= 1
    fleets[waiting.fleet].demand = fleets[waiting.fleet].demand - waiting.request.estimate.amounts
    clients[waiting.client]?.waiting -= 1
    return waiting
  }

  /// Removes the requests whose deadline has come.
  mutating func expire(at now: BudgetTime) -> [GrantID] {
    var expired: [GrantID] = []
    while let due = deadlines.first, due.at <= now {
      deadlines.pop()
      if let waiting = remove(due.ticket) { expired.append(waiting.request.id) }
    }
    return expired
  }

  /// Promotes what has waited long enough, and puts what was delayed at the head of its line.
  mutating func advance(to now: BudgetTime) {
    while let due = delays.first, due.at <= now {
      delays.pop()
      guard let waiting = waiting(due.ticket), waiting.isDelayed else { continue }
      slots[due.ticket.slot].waiting?.isDelayed = false
      line(due.ticket, atHead: true, now: now)
    }
    while let due = promotions.first, due.at <= now {
      promotions.pop()
      guard let waiting = waiting(due.ticket), !waiting.isDelayed, waiting.level > 0 else { continue }
      slots[due.ticket.slot].waiting?.level = waiting.level - 1
      slots[due.ticket.slot].waiting?.blockedSince = nil
      line(due.ticket, atHead: false, now: due.at)
    }
  }

  /// When `expire` or `advance` has something to do next.
  mutating func nextEvent() -> BudgetTime? {
    while let first = deadlines.first, waiting(first.ticket) == nil { deadlines.pop() }
    while let first = promotions.first, waiting(first.ticket) == nil { promotions.pop() }
    while let first = delays.first, waiting(first.ticket) == nil { delays.pop() }
    return [deadlines.first?.at, promotions.first?.at, delays.first?.at].compactMap(\.self).min()
  }

  // MARK: Order of service

  /// The next request: the first of the fleet with the smallest tag in the most urgent class that isn't empty.
  mutating func head() -> Ticket? {
    for level in 0..<Self.levels {
      if let ticket = head(level: level) { return ticket }
    }
    return nil
  }

  private mutating func head(level: Int) -> Ticket? {
    while let flow = flows[level].first {
      let fleet = flow.fleet
      if fleets[fleet].tag > flow.tag {
        flows[level].replaceFirst(with: Flow(tag: fleets[fleet].tag, fleet: fleet))
        continue
      }
      if let ticket = frontTicket(fleet: fleet, level: level) { return ticket }
      flows[level].pop()
      fleets[fleet].isInHeap[level] = false
    }
    return nil
  }

  private mutating func frontTicket(fleet: Int, level: Int) -> Ticket? {
    while let client = fleets[fleet].rings[level].first {
      if let ticket = liveFront(client: client, level: level) { return ticket }
      fleets[fleet].rings[level].popFirst()
      clients[client]?.isInRing[level] = false
    }
    return nil
  }

  private mutating func liveFront(client: Int, level: Int) -> Ticket? {
    while let ticket = clients[client]?.queues[level].first {
      if let waiting = waiting(ticket), waiting.level == level, !waiting.isDelayed { return ticket }
      clients[client]?.queues[level].popFirst()
    }
    return nil
  }

  /// Notes that the head doesn't fit; since when it hasn't.
  mutating func block(_ ticket: Ticket, now: BudgetTime) -> BudgetTime {
    if let since = slots[ticket.slot].waiting?.blockedSince { return since }
    slots[ticket.slot].waiting?.blockedSince = now
    return now
  }

  /// Who may go before a head that doesn't fit: the next clients of its fleet, and the heads of fleets that are ahead
  /// of it by at most `lead` (nanoseconds of the budget), at most `width` of each.
  mutating func bypassers(of head: Ticket, lead: Int64, width: Int) -> [Ticket] {
    guard let first = waiting(head) else { return [] }
    let level = first.level
    var found: [Ticket] = []
    var place = 1
    while place <= width, let client = fleets[first.fleet].rings[level][place] {
      if let ticket = liveFront(client: client, level: level) { found.append(ticket) }
      place += 1
    }
    let start = fleets[first.fleet].tag
    let limit = start.addingSaturated(lead)
    var set: [Flow] = []
    while set.count <= width, let flow = flows[level].first, flow.tag <= limit {
      flows[level].pop()
      set.append(Flow(tag: fleets[flow.fleet].tag, fleet: flow.fleet))
      // A lead is the same amount for each fleet: tags move by cost over weight.
      let own = start.addingSaturated(lead / fleets[flow.fleet].weight)
      guard flow.fleet != first.fleet, fleets[flow.fleet].tag <= own else { continue }
      if let ticket = frontTicket(fleet: flow.fleet, level: level) { found.append(ticket) }
    }
    for flow in set { flows[level].push(flow) }
    return found
  }

  /// Takes a request out to serve it: its fleet's tag moves by `cost` (nanoseconds of the whole budget) over its
  /// weight, and its client goes to the end of the fleet's round.
  mutating func serve(_ ticket: Ticket, cost: Int64) -> Waiting? {
    guard let waiting = remove(ticket) else { return nil }
    let fleet = waiting.fleet
    let start = fleets[fleet].tag
    virtualTime = max(virtualTime, start)
    let step = (cost / fleets[fleet].weight).addingSaturated(fleets[fleet].correction)
    fleets[fleet].tag = start.addingSaturated(max(step, 0))
    fleets[fleet].correction = min(step, 0)
    let level = waiting.level
    var place = 0
    while let client = fleets[fleet].rings[level][place], client != waiting.client { place += 1 }
    fleets[fleet].rings[level].remove(at: place)
    if liveFront(client: waiting.client, level: level) != nil {
      fleets[fleet].rings[level].append(waiting.client)
    } else {
      clients[waiting.client]?.isInRing[level] = false
    }
    return waiting
  }
}
