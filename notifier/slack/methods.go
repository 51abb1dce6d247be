package slack

import (
	"maps"
	"slices"
)

// apiMethod is what has to be known of one of Slack's methods before it is called.
type apiMethod struct {
	scopes []string // what the app must have been given; none: a token is enough
	// perMinute is what Slack's tier of the method allows in a workspace, which calls are spread over. 0: calls are never
	// made to wait here, because a person waits for them; what Slack asks for by a 429 holds for them too.
	perMinute int
	byChannel bool // Slack counts it, and limits it, for each channel
	ofApp     bool // it takes the app-level token
}

// methods are all that this package calls. A call of another one fails: its scope would be in no manifest.
var methods = map[string]apiMethod{
	"auth.test":                    {},
	"apps.connections.open":        {ofApp: true, scopes: []string{"connections:write"}},
	"chat.postMessage":             {scopes: []string{"chat:write"}, byChannel: true},
	"chat.update":                  {scopes: []string{"chat:write"}, byChannel: true},
	"conversations.info":           {scopes: []string{"channels:read", "groups:read"}, perMinute: 50},
	"conversations.list":           {scopes: []string{"channels:read", "groups:read"}, perMinute: 20},
	"conversations.setTopic":       {scopes: []string{"channels:write.topic", "groups:write.topic"}, perMinute: 20},
	"files.getUploadURLExternal":   {scopes: []string{"files:write"}},
	"files.completeUploadExternal": {scopes: []string{"files:write"}},
	"usergroups.list":              {scopes: []string{"usergroups:read"}, perMinute: 20},
	"usergroups.users.update":      {scopes: []string{"usergroups:write"}, perMinute: 20},
	"users.info":                   {scopes: []string{"users:read"}},
	"users.lookupByEmail":          {scopes: []string{"users:read.email", "users:read"}, perMinute: 50},
	"views.open":                   {},
	"views.publish":                {perMinute: 60},
}

// commandScope lets the app have its slash command, which calls no method.
const commandScope = "commands"

// BotScopes lists the scopes of the bot token that this build uses, each once, sorted.
func BotScopes() []string {
	all := map[string]bool{commandScope: true}
	for _, m := range methods {
		for _, s := range m.scopes {
			if !m.ofApp {
				all[s] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}
