package slacktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// OpenHome opens the app's home: Slack tells tocsin by an event, signed or over a socket.
func (s *Server) OpenHome(ctx context.Context, tocsinURL, user string) (Answer, error) {
	return s.event(ctx, tocsinURL, map[string]any{"type": "event_callback", "team_id": s.opts.Team, "api_app_id": "A0TEST", "event_id": "Ev" + s.trigger(),
		"event": map[string]any{"type": "app_home_opened", "user": user, "channel": "D0HOME", "tab": "home", "event_ts": fmt.Sprint(time.Now().Unix())}})
}

// VerifyURL asks tocsin whether it serves the address of events, as Slack does when one is set.
func (s *Server) VerifyURL(ctx context.Context, tocsinURL string) error {
	a, err := s.event(ctx, tocsinURL, map[string]any{"type": "url_verification", "token": "verification-token", "challenge": "3eZbrw1aB"})
	if err != nil {
		return err
	}
	var answer struct {
		Challenge string `json:"challenge"`
	}
	if json.Unmarshal([]byte(a.Body), &answer) != nil || answer.Challenge != "3eZbrw1aB" {
		return fmt.Errorf("your URL didn't respond with the value of the challenge parameter: %d %q", a.Status, a.Body)
	}
	return nil
}

func (s *Server) event(ctx context.Context, tocsinURL string, payload map[string]any) (Answer, error) {
	body, err := json.Marshal(payload)
	if err != nil {
		return Answer{}, err
	}
	if s.opts.SocketMode {
		return s.handOver(ctx, "events_api", body, false)
	}
	a, err := s.Send(ctx, s.Sign(strings.TrimRight(tocsinURL, "/")+"/slack/events", body, time.Now()))
	if err == nil && a.Status != http.StatusOK {
		err = fmt.Errorf("an event was answered with %d", a.Status)
	}
	return a, err
}

// PressHome presses a button of somebody's home, in the block given. A press there has no response_url.
func (s *Server) PressHome(ctx context.Context, tocsinURL, user, blockID, actionID string) (Answer, error) {
	var view struct {
		Blocks json.RawMessage `json:"blocks"`
	}
	if err := json.Unmarshal(s.Home(user), &view); err != nil {
		return Answer{}, fmt.Errorf("%s has no home: %w", user, err)
	}
	value, found := "", false
	eachButton(view.Blocks, func(block string, b object) bool {
		if block == blockID && b.str("action_id") == actionID {
			value, found = b.str("value"), true
		}
		return !found
	})
	if !found {
		return Answer{}, errors.New("the home shows no such button")
	}
	payload, err := json.Marshal(map[string]any{
		"type": "block_actions", "user": s.who(user), "api_app_id": "A0TEST", "token": "verification-token",
		"container": map[string]any{"type": "view", "view_id": "V0HOME"}, "trigger_id": s.trigger(),
		"team": map[string]any{"id": s.opts.Team, "domain": "slacktest"}, "enterprise": nil, "is_enterprise_install": false,
		"view":    map[string]any{"id": "V0HOME", "team_id": s.opts.Team, "type": "home", "blocks": view.Blocks, "state": map[string]any{"values": map[string]any{}}},
		"actions": []any{map[string]any{"action_id": actionID, "block_id": blockID, "value": value, "type": "button"}},
	})
	if err != nil {
		return Answer{}, err
	}
	return s.interact(ctx, tocsinURL, url.Values{"payload": {string(payload)}}, time.Now())
}
