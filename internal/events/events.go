// Package events calls functions one after another, without anybody waiting for them.
//
// That is how a session calls the hooks of its user: in the order in which things
// happened, never two at the same time, and never on a goroutine that has something else
// to do. Whoever posts a function may hold locks that the function takes.
//
// A function that does not return holds up those after it, which are kept in memory, and
// nothing else. One that ends its goroutine (runtime.Goexit) takes none of them with it.
// One that panics ends the process, as it would on a goroutine of its own: it is the
// user's, who would not learn of it otherwise.
//
// The goroutine of a [Queue] ends when there is nothing more to call, so that a Queue
// needs no end, and one without a function in it is a mutex and a pointer.
package events

import "sync"

// A Queue calls the functions that are posted to it. The zero Queue is ready for use. It
// must not be copied.
type Queue struct {
	mu    sync.Mutex // guards queue and what it points to
	queue *[]func()  // nil: there is nothing to call, and nobody who calls
}

// Post has f called after all that were posted before. It does not wait.
func (q *Queue) Post(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.queue == nil {
		q.queue = new([]func())
		go q.run()
	}
	*q.queue = append(*q.queue, f)
}

// run ends when the queue is empty; the next Post starts it again.
func (q *Queue) run() {
	over := false
	defer func() {
		if !over {
			go q.run() // the function called runtime.Goexit, or the process is about to end
		}
	}()
	for {
		f, ok := q.next()
		if !ok {
			over = true
			return
		}
		f()
	}
}

// next takes the first function from the queue. ok is false if there is none, and
// whoever runs the queue must end then: another may run it already.
func (q *Queue) next() (f func(), ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(*q.queue) == 0 {
		q.queue = nil
		return nil, false
	}
	f = (*q.queue)[0]
	(*q.queue)[0] = nil // what it holds is free once it was called
	*q.queue = (*q.queue)[1:]
	return f, true
}
