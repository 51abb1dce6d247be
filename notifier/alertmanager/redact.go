package alertmanager

// minSecret is the length from which a secret is looked for in texts: shorter ones occur by chance.
const minSecret = 4
