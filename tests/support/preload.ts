// Tests see no colour and no configuration of the person who runs them.
process.env.NO_COLOR = '1'
