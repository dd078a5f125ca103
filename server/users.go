package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fairlead/fairlead/server/auth"
)

// NewUser asks for a user. Without a password nobody signs in as them until one
// is set.
type NewUser struct {
	Email    string    `json:"email" maxLength:"254" example:"grace@example.com"`
	Name     string    `json:"name,omitempty" maxLength:"400" doc:"author of the commits that they make" example:"Grace Hopper"`
	Role     auth.Role `json:"role" enum:"viewer,analyst,admin"`
	Password string    `json:"password,omitempty" maxLength:"1024" doc:"at least 12 characters that nobody would guess"`
}

// UserChange says what is to be different of a user; what is left out stays.
type UserChange struct {
	Name     *string    `json:"name,omitempty" maxLength:"400"`
	Role     *auth.Role `json:"role,omitempty" enum:"viewer,analyst,admin"`
	Disabled *bool      `json:"disabled,omitempty"`
	Password *string    `json:"password,omitempty" maxLength:"1024" doc:"at least 12 characters that nobody would guess"`
}

// Users returns everybody, by address.
func (a *API) Users(ctx context.Context) ([]auth.User, error) {
	store, err := a.people()
	if err != nil {
		return nil, err
	}
	return store.Users(ctx)
}

// User returns one, by id or address.
func (a *API) User(ctx context.Context, user string) (auth.User, error) {
	store, err := a.people()
	if err != nil {
		return auth.User{}, err
	}
	u, err := store.User(ctx, user)
	return u, refused(err)
}

// CreateUser makes one.
func (a *API) CreateUser(ctx context.Context, req NewUser) (auth.User, error) {
	store, err := a.people()
	if err != nil {
		return auth.User{}, err
	}
	u, err := store.CreateUser(ctx, auth.NewUser{Email: req.Email, Name: req.Name, Role: req.Role, Password: req.Password})
	return u, a.told(ctx, "createUser", u.Email, err)
}

// ChangeUser changes one, given by id or address. Another role, a new password
// and being disabled end the user's sessions.
func (a *API) ChangeUser(ctx context.Context, user string, req UserChange) (auth.User, error) {
	store, err := a.people()
	if err != nil {
		return auth.User{}, err
	}
	was, err := store.User(ctx, user)
	if err != nil {
		return auth.User{}, a.told(ctx, "changeUser", "", err)
	}
	u, err := store.ChangeUser(ctx, caller(ctx), was.ID, auth.UserChange{Name: req.Name, Role: req.Role, Disabled: req.Disabled, Password: req.Password})
	return u, a.told(ctx, "changeUser", was.Email+req.what(), err)
}

// what says in a few words what changes, for the audit log.
func (c UserChange) what() (text string) {
	if c.Role != nil {
		text += " role=" + string(*c.Role)
	}
	if c.Disabled != nil && *c.Disabled {
		text += " disabled"
	} else if c.Disabled != nil {
		text += " enabled"
	}
	if c.Password != nil {
		text += " new password"
	}
	if c.Name != nil {
		text += " name"
	}
	return text
}

// DeleteUser removes one, with all sessions and tokens.
func (a *API) DeleteUser(ctx context.Context, user string) (auth.User, error) {
	store, err := a.people()
	if err != nil {
		return auth.User{}, err
	}
	was, err := store.User(ctx, user)
	if err == nil {
		_, err = store.DeleteUser(ctx, was.ID)
	}
	return was, a.told(ctx, "deleteUser", was.Email, err)
}

// Lifetime is how many days a token lasts; null is forever.
type Lifetime struct {
	Days    int // 0: not said
	Forever bool
}

// UnmarshalJSON reads a number or null.
func (l *Lifetime) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		*l = Lifetime{Forever: true}
		return nil
	}
	*l = Lifetime{}
	if err := json.Unmarshal(b, &l.Days); err != nil || l.Days == 0 {
		return errors.New("expires_in_days is a number from 1 to 3650, or null")
	}
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (l Lifetime) MarshalJSON() ([]byte, error) {
	if l.Forever {
		return []byte("null"), nil
	}
	return json.Marshal(l.Days)
}

// Schema describes it to huma.
func (Lifetime) Schema(huma.Registry) *huma.Schema {
	low, high := 1.0, 3650.0
	return &huma.Schema{Type: huma.TypeInteger, Nullable: true, Minimum: &low, Maximum: &high, Default: 90,
		Description: "days until the token ends; null: never, which only an administrator may ask for"}
}

var _ huma.SchemaProvider = Lifetime{}

// NewToken asks for a personal access token.
type NewToken struct {
	Name    string    `json:"name" maxLength:"400" doc:"what uses it" example:"nightly export"`
	Expires *Lifetime `json:"expires_in_days,omitempty"`
	Scopes  []string  `json:"scopes,omitempty" maxItems:"16" doc:"read, query, sync, write, admin; none: all that the role allows"`
	User    string    `json:"user_id,omitempty" maxLength:"254" doc:"whose it is; only on the host itself it may be somebody else's"`
}

// UnmarshalJSON tells null from what is left out.
func (n *NewToken) UnmarshalJSON(b []byte) error {
	type plain NewToken
	into := (*plain)(n)
	if err := json.Unmarshal(b, into); err != nil {
		return err
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	if v, said := raw["expires_in_days"]; said && n.Expires == nil {
		n.Expires = new(Lifetime)
		return n.Expires.UnmarshalJSON(v)
	}
	return nil
}

// MadeToken is a new token. Its secret is shown this once.
type MadeToken struct {
	ID      string     `json:"id"`
	Name    string     `json:"name"`
	Prefix  string     `json:"prefix"`
	Token   string     `json:"token" doc:"shown this once; send it as Authorization: Bearer"`
	Expires *time.Time `json:"expires_at" doc:"null: never"`
	Created time.Time  `json:"created_at"`
	Scopes  []string   `json:"scopes"`
}

// CreateToken makes a personal access token.
func (a *API) CreateToken(ctx context.Context, req NewToken) (MadeToken, error) {
	store, err := a.people()
	if err != nil {
		return MadeToken{}, err
	}
	who, owner := caller(ctx), caller(ctx).ID
	if req.User != "" {
		u, err := store.User(ctx, req.User)
		if err != nil {
			return MadeToken{}, a.told(ctx, "createToken", "", err)
		}
		owner = u.ID
	}
	want := auth.NewToken{Name: req.Name, Scopes: req.Scopes}
	if req.Expires != nil {
		want.Days, want.Forever = req.Expires.Days, req.Expires.Forever
	}
	t, secret, err := store.CreateToken(ctx, who, owner, want)
	if err := a.told(ctx, "createToken", a.emailOf(ctx, owner)+" "+t.ID+" "+t.Name, err); err != nil {
		return MadeToken{}, err
	}
	made := MadeToken{ID: t.ID, Name: t.Name, Prefix: t.Prefix, Token: secret, Created: t.Created, Scopes: t.Scopes}
	if !t.Expires.IsZero() {
		made.Expires = &t.Expires
	}
	return made, nil
}

// Tokens returns those of who asks, the newest first.
func (a *API) Tokens(ctx context.Context) ([]auth.Token, error) {
	return a.UserTokens(ctx, caller(ctx).ID)
}

// UserTokens returns those of a user, the newest first.
func (a *API) UserTokens(ctx context.Context, user string) ([]auth.Token, error) {
	store, err := a.people()
	if err != nil {
		return nil, err
	}
	id, err := idOf(ctx, store, user)
	if err != nil {
		return nil, err
	}
	return store.Tokens(ctx, id)
}

// DeleteToken ends one of who asks, or of anybody for an administrator.
func (a *API) DeleteToken(ctx context.Context, id string) (auth.Token, error) {
	store, err := a.people()
	if err != nil {
		return auth.Token{}, err
	}
	t, err := store.DeleteToken(ctx, caller(ctx), id)
	return t, a.told(ctx, "deleteToken", a.emailOf(ctx, t.User)+" "+id+" "+t.Name, err)
}
