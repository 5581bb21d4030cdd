// Keeps a copy of one user fresh with WatchUsers: go run ./watch TARGET SUB
//
// It prints the user whenever its copy changes. The caller's rule needs watch = true. To generate the
// stubs, see ../main.go. docs/watch.md has the recipe.
package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	userlookup "cognito-lookup/gen/userlookup/v1"
)

const (
	timeout = 3 * time.Second
	// How long a copy is used while changes may be missed.
	ttl = time.Minute
	// Three intervals of checkpoints.
	silence = 90 * time.Second
	// The most copies, and the most changes, that are kept. When there are more, all are dropped.
	maxUsers = 10_000
)

type kept struct {
	reply *userlookup.GetUserResponse
	read  time.Time
}

// mirror has copies of users, each with the time at which it was read.
type mirror struct {
	users   userlookup.UserServiceClient
	lock    sync.Mutex
	copies  map[string]kept
	changed map[string]*timestamppb.Timestamp
	// The `not_older_than` of users whose change was dropped.
	changedBefore *timestamppb.Timestamp
	heard         time.Time
	healthy       bool
	// Changes whenever a read in flight must not be kept.
	version int
}

func newMirror(users userlookup.UserServiceClient) *mirror {
	return &mirror{users: users, copies: map[string]kept{}, changed: map[string]*timestamppb.Timestamp{}}
}

// get returns the copy of a user, or reads the user.
func (m *mirror) get(ctx context.Context, sub string) (*userlookup.GetUserResponse, error) {
	m.lock.Lock()
	copied, found := m.copies[sub]
	hears := m.healthy && time.Since(m.heard) < silence
	version := m.version
	changed, known := m.changed[sub]
	if !known {
		changed = m.changedBefore
	}
	m.lock.Unlock()
	if found && (hears || time.Since(copied.read) < ttl) {
		return copied.reply, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request := &userlookup.GetUserRequest{Sub: sub}
	if changed != nil {
		request.Freshness = &userlookup.GetUserRequest_NotOlderThan{NotOlderThan: changed}
	}
	reply, err := m.users.GetUser(ctx, request)
	if err != nil {
		return nil, err
	}
	m.lock.Lock()
	defer m.lock.Unlock()
	if version == m.version && !m.heard.IsZero() {
		delete(m.changed, sub)
		if len(m.copies) >= maxUsers {
			m.copies = map[string]kept{}
		}
		m.copies[sub] = kept{reply, time.Now()}
	}
	return reply, nil
}

// watch drops the copies of users that change. It returns if a retry does not help.
func (m *mirror) watch(ctx context.Context) error {
	token := ""
	for {
		err := m.watchOnce(ctx, &token)
		switch status.Code(err) {
		case codes.OutOfRange:
			m.forget()
			token = ""
		case codes.Unavailable, codes.ResourceExhausted:
			time.Sleep(time.Second)
		default:
			m.forget()
			return err
		}
	}
}

func (m *mirror) watchOnce(ctx context.Context, token *string) error {
	stream, err := m.users.WatchUsers(ctx, &userlookup.WatchUsersRequest{ResumeToken: *token})
	if err != nil {
		return err
	}
	for {
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		m.hear(message)
		*token = message.GetResumeToken()
	}
}

func (m *mirror) hear(message *userlookup.WatchUsersResponse) {
	m.lock.Lock()
	defer m.lock.Unlock()
	if change := message.GetChange(); change != nil {
		m.version++
		delete(m.copies, change.GetSub())
		if len(m.changed) >= maxUsers {
			m.changed = map[string]*timestamppb.Timestamp{}
			m.changedBefore = change.GetSeenAt()
		}
		m.changed[change.GetSub()] = change.GetSeenAt()
	} else {
		if m.heard.IsZero() {
			// What was read before the first checkpoint may be older than the stream.
			m.version++
		}
		m.healthy = message.GetCheckpoint().GetSourceHealthy()
	}
	m.heard = time.Now()
}

func (m *mirror) forget() {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.version++
	m.copies, m.heard, m.healthy = map[string]kept{}, time.Time{}, false
}

func run(target, sub string) error {
	channel, err := grpc.Dial(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer channel.Close()
	users, ctx := newMirror(userlookup.NewUserServiceClient(channel)), context.Background()
	go func() { fmt.Fprintln(os.Stderr, users.watch(ctx)) }()
	shown := ""
	for {
		reply, err := users.get(ctx, sub)
		if err != nil {
			return err
		}
		user := reply.GetUser().GetAttributes()
		line := fmt.Sprintf("%s <%s>", user["name"], user["email"])
		if line != shown {
			fmt.Println(line)
		}
		shown = line
		time.Sleep(100 * time.Millisecond)
	}
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
