class TimelinePane {
  constructor(app, root) { Object.assign(this, { app, root, model: app.model }); }
  draw() {}
  choose() {}
}
